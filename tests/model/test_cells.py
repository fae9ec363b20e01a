from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_world import GRID, PATCH, A, C, N, P, cells_model, randn
from torch import Tensor

from selfflow_robotics.model.dit import Conditions, DiT, DiTConfig
from selfflow_robotics.model.tokens import Frames

B, T = 2, 3


def frames() -> Frames:
    return Frames(
        randn(B, T, N, C, seed=1),
        randn(B, T, N, C, seed=2),
        randn(B, T, A, seed=3),
        randn(B, T, P, seed=4),
        randn(B, T, P, seed=5),
    )


def at(times: Tensor, given: Frames) -> Conditions:
    """Video at these times (B, T), the rest clean."""
    rows = torch.zeros(B, T, N + 2, dtype=torch.long)
    rows[:, :, :N] = 1
    both = torch.stack((torch.zeros_like(times), times), dim=-1)
    return Conditions(both, rows, action_BTA=given.action_BTA)


def clean(network: DiT, given: Frames, times: Tensor) -> Tensor:
    """What the network takes the frames for."""
    velocity = network(given, at(times, given)).video_BTNC
    assert velocity is not None
    return given.video_BTNC - times[..., None, None] * velocity


@pytest.mark.parametrize("depth", [0, 2])
def test_untrained_network_keeps_the_anchor_at_any_noise(depth: int) -> None:
    network = DiT(replace(cells_model().config.network, depth=depth))
    times = torch.tensor([[1.0, 0.5, 0.1], [0.3, 0.9, 1.0]])
    torch.testing.assert_close(clean(network, frames(), times), frames().anchor_BTNC)


@pytest.mark.parametrize("depth", [0, 2])
def test_pure_noise_disturbs_nothing(depth: int) -> None:
    network, given, times = cells_model(depth=depth).network, frames(), torch.ones(B, T)
    other = replace(given, video_BTNC=randn(B, T, N, C, seed=9))
    ours, theirs = clean(network, given, times), clean(network, other, times)
    torch.testing.assert_close(ours, theirs)
    some = torch.full((B, T), 0.5)
    assert (clean(network, given, some) - clean(network, other, some)).abs().max() > 0.01


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize(
    "name", ["video_BTNC", "anchor_BTNC", "action_BTA", "state_BTP", "anchor_state_BTP"]
)
def test_frame_follows_from_what_it_is_given_and_from_no_other_frame(name: str, depth: int) -> None:
    network, given, times = cells_model(depth=depth).network, frames(), torch.full((B, T), 0.5)
    changed = getattr(given, name).clone()
    changed[:, 1] += 1
    other = replace(given, **{name: changed})
    moved = (clean(network, given, times) - clean(network, other, times)).flatten(2).abs().amax(2)
    assert (moved[:, 1] > 1e-3).all() and (moved[:, [0, 2]] < 1e-6).all()


def test_frames_may_attend_to_earlier_ones() -> None:
    network = cells_model(depth=2, markov=False).network
    given, times = frames(), torch.full((B, T), 0.5)
    changed = given.video_BTNC.clone()
    changed[:, 1] += 1
    other = replace(given, video_BTNC=changed)
    moved = (clean(network, given, times) - clean(network, other, times)).flatten(2).abs().amax(2)
    assert (moved[:, 0] < 1e-6).all() and (moved[:, 1:] > 1e-4).all()


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(ValueError, match="attends to nothing"):
        DiTConfig(C, GRID, 32, 0, 2)
    with pytest.raises(ValueError, match="no patches of 5"):
        DiTConfig(C, GRID, 32, 2, 2, cells=8, patch=5)
    with pytest.raises(ValueError, match="need actions and proprioception"):
        DiTConfig(C, GRID, 32, 2, 2, cells=8, patch=PATCH, kinematics=True)
