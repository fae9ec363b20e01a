from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from selfflow_robotics.model.attention import Cache, rotary_time, rotate
from selfflow_robotics.model.dit import Conditions, DiT, DiTConfig, Output
from selfflow_robotics.model.tokens import Frames

B, T, GRID, C, A, P = 2, 4, (3, 2), 8, 3, 5
N = GRID[0] * GRID[1]
M = N + 2
CONFIG = DiTConfig(
    token_dim=C,
    grid=GRID,
    width=32,
    depth=3,
    heads=2,
    action_dim=A,
    state_dim=P,
    num_classes=4,
    vocabulary=11,
    step_sizes=True,
)


@pytest.fixture(scope="module")
def model() -> DiT:
    """A network in which nothing is zero, so that every path matters."""
    torch.manual_seed(0)
    model = DiT(CONFIG)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def clip(model: DiT) -> tuple[Frames, Conditions]:
    frames = Frames(
        video_BTNC=randn(B, T, N, C, seed=1),
        anchor_BTNC=randn(B, T, N, C, seed=2),
        action_BTA=randn(B, T, A, seed=3),
        state_BTP=randn(B, T, P, seed=4),
    )
    words = torch.tensor([[1, 2, 3], [4, 0, 0]])
    conditions = Conditions(
        timesteps_BTR=rand(B, T, 3, seed=5),
        row_BTM=(rand(B, T, M, seed=6) * 3).long(),
        labels_B=torch.tensor([0, 3]),
        action_BTA=randn(B, T, A, seed=7),
        action_known_BT=torch.tensor([[1.0, 0.0, 1.0, 1.0]] * B),
        instruction_BTD=model.encode_instruction(words)[:, None].expand(-1, T, -1),
        step_BT=rand(B, T, seed=8),
    )
    return frames, conditions


def mapped(
    clip: tuple[Frames, Conditions], change: Callable[[Tensor], Tensor]
) -> tuple[Frames, Conditions]:
    frames, conditions = (
        {name: change(part) for name, part in vars(value).items() if isinstance(part, Tensor)}
        for value in clip
    )
    return Frames(**frames), Conditions(**conditions)  # type: ignore[arg-type]


def at(clip: tuple[Frames, Conditions], frames: slice) -> tuple[Frames, Conditions]:
    return mapped(clip, lambda part: part[:, frames] if part.ndim > 1 else part)


def parts(output: Output) -> list[Tensor]:
    assert output.video_BTNC is not None
    assert output.action_BTA is not None
    assert output.state_BTP is not None
    return [output.video_BTNC, output.action_BTA, output.state_BTP, *output.features.values()]


@pytest.mark.parametrize("frame", range(T - 1))
@pytest.mark.parametrize("what", ["action_BTA", "known action", "frames", "timesteps"])
def test_frame_ignores_what_comes_after_it(model: DiT, frame: int, what: str) -> None:
    frames, conditions = clip(model)
    later = torch.arange(T) > frame

    def changed(value: Tensor | None, seed: int) -> Tensor:
        assert value is not None
        other = rand(*value.shape, seed=seed)
        return torch.where(later.view(1, T, *[1] * (value.ndim - 2)), other, value)

    if what == "action_BTA":
        other = replace(frames, action_BTA=changed(frames.action_BTA, 11)), conditions
    elif what == "known action":
        other = frames, replace(conditions, action_BTA=changed(conditions.action_BTA, 12))
    elif what == "timesteps":
        other = frames, replace(conditions, timesteps_BTR=changed(conditions.timesteps_BTR, 13))
    else:
        moved = replace(frames, video_BTNC=changed(frames.video_BTNC, 14))
        moved = replace(moved, anchor_BTNC=changed(frames.anchor_BTNC, 15))
        other = replace(moved, state_BTP=changed(frames.state_BTP, 16)), conditions
    before = parts(model(frames, conditions, feature_layers=(1, 3)))
    after = parts(model(*other, feature_layers=(1, 3)))
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a[:, : frame + 1], b[:, : frame + 1])
    assert not torch.equal(before[0], after[0])


def test_frames_one_by_one_with_cache_equal_all_at_once(model: DiT) -> None:
    whole = model(*clip(model), feature_layers=(2,))
    cache: Cache | None = None
    collected: list[list[Tensor]] = []
    for t in range(T):
        now = slice(t, t + 1)
        out = model(*at(clip(model), now), cache=cache, feature_layers=(2,))
        cache = out.cache if cache is None else cache.append(out.cache)
        collected.append(parts(out))
    for all_at_once, one_by_one in zip(parts(whole), zip(*collected, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(one_by_one, 1), all_at_once, atol=5e-5, rtol=0)
    assert cache is not None
    assert cache.frames == T


def test_two_frames_after_two_cached_ones_equal_all_at_once(model: DiT) -> None:
    first, rest = slice(0, 2), slice(2, T)
    cache = model(*at(clip(model), first)).cache
    out = model(*at(clip(model), rest), cache=cache)
    whole = parts(model(*clip(model)))
    for a, b in zip(parts(out), whole, strict=True):
        torch.testing.assert_close(a, b[:, rest], atol=1e-5, rtol=0)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("frames", [1, 2])
def test_candidates_share_a_cache_without_copies(model: DiT, frames: int, gradients: bool) -> None:
    k = 3
    first, middle, last = slice(0, 1), slice(1, T - frames), slice(T - frames, T)
    whole = [
        mapped(at(clip(model), now), lambda p: p.repeat_interleave(k, 0)) for now in (middle, last)
    ]
    # Candidates that differ from the frame after the shared history on.
    for given, _ in whole:
        given.video_BTNC.add_(torch.randn_like(given.video_BTNC))
        given.video_BTNC.requires_grad_(gradients)
    shared = model(*at(clip(model), first)).cache
    cache = shared.append(model(*whole[0], cache=shared).cache)
    assert [part.shape[0] for part in cache.layers[0]] == [B, B]
    assert cache.layers is shared.layers
    history = mapped(at(clip(model), first), lambda p: p.repeat_interleave(k, 0))
    alone = parts(model(*joined([history, *whole])))
    for a, e in zip(parts(model(*whole[1], cache=cache)), alone, strict=True):
        torch.testing.assert_close(a, e[:, last], atol=2e-5, rtol=0)


def joined(pieces: list[tuple[Frames, Conditions]]) -> tuple[Frames, Conditions]:
    """Clips one after another."""

    def along_time(values: list[Tensor]) -> Tensor:
        if values[0] is None or values[0].ndim == 1:
            return values[0]
        return torch.cat(values, 1)

    columns = [
        {
            k: along_time([vars(piece[i])[k] for piece in pieces])
            for k, part in vars(pieces[0][i]).items()
            if isinstance(part, Tensor)
        }
        for i in (0, 1)
    ]
    return Frames(**columns[0]), Conditions(**columns[1])


def test_rows_per_distinct_timestep_equal_rows_per_token(model: DiT) -> None:
    frames, conditions = clip(model)
    assert conditions.row_BTM is not None
    per_token = replace(
        conditions,
        timesteps_BTR=conditions.timesteps_BTR.gather(2, conditions.row_BTM),
        row_BTM=None,
    )
    distinct = parts(model(frames, conditions, feature_layers=(1, 2, 3)))
    spelled_out = parts(model(frames, per_token, feature_layers=(1, 2, 3)))
    for a, b in zip(distinct, spelled_out, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_rotary_time_is_the_identity_for_one_frame() -> None:
    x = randn(2, 6, 2, 2, 16, seed=0)
    assert torch.equal(rotate(x, rotary_time(1, 6, 16, 0, x.device)), x)
    assert not torch.equal(rotate(x, rotary_time(1, 6, 16, 1, x.device)), x)


def test_a_frame_in_a_different_place_is_told_apart(model: DiT) -> None:
    frames, _ = clip(model)
    swapped = frames.video_BTNC[:, [1, 0, 2, 3]]
    plain = Conditions(torch.full((B, T, 1), 0.5))
    a = model(Frames(frames.video_BTNC), plain).video_BTNC
    b = model(Frames(swapped), plain).video_BTNC
    assert (a[:, 3] - b[:, 3]).abs().max() > 1e-3


def test_stopping_early_gives_the_same_features(model: DiT) -> None:
    frames, conditions = clip(model)
    whole = model(frames, conditions, feature_layers=(2,))
    cut = model(frames, conditions, feature_layers=(2,), stop_after=2)
    assert cut.video_BTNC is None
    assert len(cut.cache.layers) == 2
    assert torch.equal(cut.features[2], whole.features[2])


@pytest.mark.parametrize(
    ("depth", "student", "teacher"), [(28, 8, 20), (21, 6, 15), (4, 1, 3), (1, 1, 1)]
)
def test_layers_are_shares_of_the_depth(depth: int, student: int, teacher: int) -> None:
    config = replace(CONFIG, depth=depth)
    assert (config.layer(0.3), config.layer(0.7)) == (student, teacher)


def test_new_network_that_starts_from_its_anchor_predicts_no_change() -> None:
    torch.manual_seed(0)
    model = DiT(CONFIG)
    model.start_from_anchor()
    x, anchor = randn(B, T, N, C, seed=1), randn(B, T, N, C, seed=2)
    v = model(Frames(x, anchor), Conditions(torch.ones(B, T, 1))).video_BTNC
    torch.testing.assert_close(v, x - anchor)
    torch.testing.assert_close(x - v, anchor)


def test_new_network_gives_zero_velocity_and_ignores_its_conditions() -> None:
    torch.manual_seed(0)
    model = DiT(CONFIG)
    frames, conditions = clip(model)
    for velocity in parts(model(frames, conditions)):
        assert not velocity.any()


def test_start_from_anchor_needs_a_square_projection() -> None:
    with pytest.raises(ValueError, match="out_dim equal to token_dim"):
        DiT(replace(CONFIG, out_dim=2 * C)).start_from_anchor()
    with pytest.raises(ValueError, match="anchor=True"):
        DiT(replace(CONFIG, anchor=False)).start_from_anchor()


def test_modality_the_network_lacks_is_named() -> None:
    model = DiT(DiTConfig(token_dim=C, grid=GRID, width=32, depth=1, heads=2, anchor=False))
    frames, conditions = clip(DiT(CONFIG))
    video, t = frames.video_BTNC, conditions.timesteps_BTR[:, :, :1]
    for given, told, name in (
        (Frames(video, action_BTA=frames.action_BTA), Conditions(t), "action tokens"),
        (Frames(video, state_BTP=frames.state_BTP), Conditions(t), "proprioception tokens"),
        (Frames(video, frames.anchor_BTNC), Conditions(t), "anchors"),
        (Frames(video), Conditions(t, labels_B=conditions.labels_B), "class labels"),
        (Frames(video), Conditions(t, action_BTA=conditions.action_BTA), "actions"),
        (Frames(video), Conditions(t, instruction_BTD=randn(B, T, 32, seed=0)), "instructions"),
        (Frames(video), Conditions(t, step_BT=torch.ones(B, T)), "step sizes"),
    ):
        with pytest.raises(ValueError, match=f"built without {name}"):
            model(given, told)
    with pytest.raises(ValueError, match="built without instructions"):
        model.encode_instruction(torch.ones(1, 2, dtype=torch.long))


def test_step_size_tells_nothing_at_first_and_0_never_does() -> None:
    torch.manual_seed(0)
    plain, told = DiT(replace(CONFIG, step_sizes=False)), DiT(CONFIG)
    for parameter in plain.parameters():
        nn.init.normal_(parameter, std=0.2)
    fresh = {k for k in told.state_dict() if ".step." in k}
    assert told.state_dict().keys() - plain.state_dict().keys() == fresh
    told.load_state_dict(plain.state_dict(), strict=False)
    frames, conditions = clip(plain)
    step_BT = torch.tensor([[0.0, 0.0, 0.5, 1.0], [0.0, 0.25, 0.25, 0.25]])
    stepping = replace(conditions, step_BT=step_BT)
    silent = replace(conditions, step_BT=None)
    expected = parts(plain(frames, silent))
    for given in (silent, stepping):
        for a, b in zip(parts(told(frames, given)), expected, strict=True):
            assert torch.equal(a, b)
    assert told.conditioning.step is not None
    nn.init.normal_(told.conditioning.step.mlp[-1].weight, std=0.2)
    for a, b in zip(parts(told(frames, stepping)), expected, strict=True):
        assert torch.equal(a[0, :2], b[0, :2]) and torch.equal(a[1, :1], b[1, :1])
        assert (a[:, 2:] - b[:, 2:]).abs().amax(dim=(0, *range(2, a.ndim))).min() > 1e-3
    still = replace(conditions, step_BT=torch.zeros_like(step_BT))
    for a, b in zip(parts(told(frames, still)), expected, strict=True):
        assert torch.equal(a, b)


def test_instruction_depends_on_word_order_but_not_on_padding(model: DiT) -> None:
    one = model.encode_instruction(torch.tensor([[1, 2, 3]]))
    torch.testing.assert_close(model.encode_instruction(torch.tensor([[1, 2, 3, 0, 0]])), one)
    assert (model.encode_instruction(torch.tensor([[3, 2, 1]])) - one).abs().max() > 1e-3


def test_tiny_network_learns_a_constant_velocity() -> None:
    torch.manual_seed(0)
    model = DiT(DiTConfig(token_dim=C, grid=GRID, width=32, depth=1, heads=2, anchor=False))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    target = randn(N, C, seed=3)
    losses = []
    for step in range(60):
        x, t = randn(8, 1, N, C, seed=step), rand(8, 1, 1, seed=step)
        loss = (model(Frames(x), Conditions(t)).video_BTNC - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_new_text_changes_nothing_and_can_be_learned() -> None:
    torch.manual_seed(0)
    model = DiT(DiTConfig(token_dim=4, grid=(2, 2), width=32, depth=2, heads=2, text_dim=6))
    for block in model.blocks:
        nn.init.normal_(block.modulation.weight, std=0.1)
    nn.init.normal_(model.final_modulation.weight, std=0.1)
    nn.init.normal_(model.tokens_out.video.weight, std=0.1)
    frames = Frames(randn(2, 3, 4, 4, seed=0))
    silent = Conditions(torch.full((2, 3, 1), 0.5))
    told = replace(silent, text_BTE=randn(2, 3, 6, seed=1))
    expected, found = model(frames, silent).video_BTNC, model(frames, told).video_BTNC
    assert torch.equal(expected, found)
    found.sum().backward()
    assert model.conditioning.text.weight.grad.abs().sum() > 0
    nn.init.normal_(model.conditioning.text.weight)
    assert not torch.equal(model(frames, told).video_BTNC, expected)
    # Zeros are what a frame without a text, or with a dropped one, is told.
    unsaid = replace(silent, text_BTE=torch.zeros(2, 3, 6))
    assert torch.equal(model(frames, unsaid).video_BTNC, expected)
    with pytest.raises(ValueError, match="without a text encoder's width"):
        DiT(DiTConfig(token_dim=4, grid=(2, 2), width=32, depth=2, heads=2))(frames, told)


def test_training_in_half_precision_attends_as_the_fused_kernel_does() -> None:
    def gradients(exact: bool) -> list[Tensor]:
        torch.manual_seed(0)
        trained = DiT(CONFIG)
        for parameter in trained.parameters():
            nn.init.normal_(parameter, std=0.2)
        with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
            out = trained(*clip(trained)).video_BTNC
        assert out is not None
        out.float().square().mean().backward()
        return [block.attention.qkv.weight.grad.flatten() for block in trained.blocks]  # type: ignore[union-attr]

    for exact, half in zip(gradients(True), gradients(False), strict=True):
        assert torch.cosine_similarity(exact, half.float(), dim=0) > 0.99
