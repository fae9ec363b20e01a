from __future__ import annotations

from typing import Any

import pytest
import torch

from selfflow_robotics.flow.timesteps import (
    TimestepDistribution,
    clean_prefix,
    dual_timesteps,
    shift_time,
)
from selfflow_robotics.model.modality import PUBLISHED

MANY = 40_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shift_keeps_the_ends_and_moves_to_noise() -> None:
    t = torch.linspace(0, 1, 11)
    for alpha in (0.5, 1.0, 2.95):
        moved = shift_time(t, alpha)
        assert moved[0] == 0
        assert moved[-1] == 1
        assert (moved.diff() > 0).all()
    assert torch.equal(shift_time(t, 1.0), t)
    assert (shift_time(t, 2.95)[1:-1] > t[1:-1]).all()
    torch.testing.assert_close(shift_time(shift_time(t, 2.95), 1 / 2.95), t)


def test_uniform_draws_are_uniform() -> None:
    t = TimestepDistribution().sample((MANY,), seeded())
    assert t.dtype == torch.float32
    for share in (0.1, 0.5, 0.9):
        assert abs((t < share).float().mean() - share) < 0.01


@pytest.mark.parametrize("alpha", [1.0, 2.95])
def test_shifted_logit_normal_is_a_logit_normal_with_mean_log_alpha(alpha: float) -> None:
    t = TimestepDistribution("logit-normal", shift=alpha).sample((MANY,), seeded())
    logits = t.double().logit()
    assert abs(logits.mean() - torch.tensor(alpha).log()) < 0.02
    assert abs(logits.std() - 1) < 0.02


def test_share_of_high_noise_is_drawn_from_the_end() -> None:
    plain = TimestepDistribution("logit-normal")
    noisy = TimestepDistribution("logit-normal", high_noise_share=0.05)
    above = [(d.sample((MANY,), seeded()) >= 0.95).float().mean().item() for d in (plain, noisy)]
    assert above[1] - above[0] == pytest.approx(0.05, abs=0.005)


def test_same_seed_same_draws() -> None:
    for one in PUBLISHED.values():
        distribution = TimestepDistribution(**vars(one.times))
        a, b = (distribution.sample((3, 2), seeded(7)) for _ in range(2))
        assert torch.equal(a, b)
        assert a.shape == (3, 2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cosine"}, 'no timestep distribution "cosine"'),
        ({"shift": 0.0}, "must be above 0"),
        ({"shift": float("nan")}, "must be above 0"),
        ({"high_noise_share": 1.5}, r"must be in \[0, 1\]"),
    ],
)
def test_bad_distribution_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimestepDistribution(**settings)


def test_each_token_takes_the_second_timestep_with_the_mask_ratio() -> None:
    for one in PUBLISHED.values():
        times = TimestepDistribution(**vars(one.times))
        draw = dual_timesteps(400, (5, 20), times, one.mask_ratio, seeded())
        assert draw.mask.shape == (400, 5, 20)
        assert draw.mask.float().mean().item() == pytest.approx(one.mask_ratio, abs=0.01)
        # No tube or frame masks: a frame has masked and unmasked tokens.
        assert draw.mask.float().mean((1, 2)).std() < 0.1


def test_timesteps_are_independent_and_unsorted() -> None:
    t, s, _ = dual_timesteps(MANY, (1,), TimestepDistribution(), 0.25, seeded())
    assert (t < s).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.corrcoef(torch.stack((t, s)))[0, 1].abs() < 0.02


def test_marginal_of_a_token_is_the_distribution_itself() -> None:
    draw = dual_timesteps(MANY, (1,), TimestepDistribution(), 0.25, seeded())
    tokens = torch.where(draw.mask[:, 0], draw.s, draw.t)
    for share in (0.1, 0.5, 0.9):
        assert abs((tokens < share).float().mean() - share) < 0.01


def test_no_mask_is_plain_flow_matching() -> None:
    draw = dual_timesteps(6, (3,), TimestepDistribution(), 0.0, seeded())
    assert not draw.mask.any()


@pytest.mark.parametrize("ratio", [-0.1, 0.51])
def test_mask_ratio_above_one_half_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 0.5\]"):
        dual_timesteps(2, (3,), TimestepDistribution(), ratio)


def test_with_a_gap_the_second_timestep_is_a_little_cleaner() -> None:
    draw = dual_timesteps(MANY, (1,), TimestepDistribution(), 0.0, seeded(), gap=0.2)
    below = draw.t - draw.s
    assert draw.s.min() == 0
    assert below.min() >= 0 and below.max() <= 0.2
    assert below[draw.t > 0.2].mean().item() == pytest.approx(0.1, abs=0.002)
    with pytest.raises(ValueError, match=r"gap between timesteps is 1.5; it must be in \[0, 1\]"):
        dual_timesteps(2, (3,), TimestepDistribution(), 0.0, gap=1.5)


def test_clean_prefix_leaves_a_frame_to_predict() -> None:
    assert set(clean_prefix(500, 4, seeded()).tolist()) == {1, 2, 3}
    assert set(clean_prefix(500, 4, seeded(), allow_none=True).tolist()) == {0, 1, 2, 3}
    assert set(clean_prefix(5, 1, seeded(), allow_none=True).tolist()) == {0}


def test_impossible_clean_prefix_is_refused() -> None:
    with pytest.raises(ValueError, match="a clip of 1 frame has no room"):
        clean_prefix(2, 1)
