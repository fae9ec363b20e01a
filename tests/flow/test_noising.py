from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_world import PATCH, N, clips, failed, randn, seeded, streams, without_actions
from torch import Tensor, nn

from selfflow_robotics.data.clips import Clips
from selfflow_robotics.flow.noising import (
    ROW_ACTION,
    ROW_S,
    ROW_T,
    ROW_UNKNOWN,
    NoisedClips,
    Noising,
    View,
    anchors,
    noise_clips,
)
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.model.tokens import patchify

B, T = 16, 5
USES = {"world": (1.0, 0.0, 0.0), "policy": (0.0, 1.0, 0.0), "inverse": (0.0, 0.0, 1.0)}
ENCODE = nn.Sequential(nn.Embedding(20, 2), nn.Flatten())


def noising(use: str = "world", mask_ratio: float = 0.3, **more: object) -> Noising:
    settings = Noising(TimestepDistribution(), mask_ratio, USES[use], state_drop=0.0)
    return replace(settings, **more)  # type: ignore[arg-type]


def noised(use: str, given: Clips | None = None, seed: int = 3, **more: Any) -> NoisedClips:
    given = given or clips(B, T)
    rows = streams(len(given.latents_BTCHW), seed)
    result = noise_clips(given, PATCH, noising(use, **more), rows)
    student, teacher = (result.telling(view, ENCODE) for view in (result.student, result.teacher))
    return replace(result, student=student, teacher=teacher)


def token_times(view: View) -> Tensor:
    """The timestep of every token, (B, T, M)."""
    assert view.conditions.row_BTM is not None
    return view.conditions.timesteps_BTR.gather(2, view.conditions.row_BTM)


def history_of(result: NoisedClips) -> Tensor:
    """The clean prefix: True first, then False, at least one of each."""
    clean = result.clean_BT
    assert (clean[:, :-1] >= clean[:, 1:]).all()
    assert clean[:, 0].all() and not clean[:, -1].any()
    return clean


def video_noised(use: str, history: Tensor) -> Tensor:
    return torch.zeros_like(history) if use == "inverse" else ~history


def actions_noised(use: str, history: Tensor) -> Tensor:
    return torch.zeros_like(history) if use == "world" else ~history


@pytest.mark.parametrize("use", USES)
def test_each_use_has_its_tokens_clean_noised_or_unknown(use: str) -> None:
    given = clips(B, T)
    result = noised(use, given)
    assert given.action_BTA is not None and given.state_BTP is not None
    history = history_of(result)
    video, action = video_noised(use, history), actions_noised(use, history)
    for view in (result.student, result.teacher):
        times = token_times(view)
        assert torch.equal(times[..., :N] > 0, video[..., None].expand(-1, -1, N))
        assert torch.equal(times[..., N + 1] > 0, video)
        # The action that led to a clip's first frame is not known: timestep 1, and zeros.
        assert torch.equal(times[:, 1:, N] > 0, action[:, 1:])
        assert (times[:, 0, N] == 1).all()
        assert view.frames.action_BTA is not None and view.frames.state_BTP is not None
        assert not view.frames.action_BTA[:, 0].any()
        for shown, clean, where in (
            (view.frames.video_BTNC, patchify(given.latents_BTCHW, PATCH), video),
            (view.frames.state_BTP, given.state_BTP, video),
            (view.frames.action_BTA[:, 1:], given.action_BTA[:, 1:], action[:, 1:]),
        ):
            assert torch.equal(shown[~where], clean[~where])
            assert (shown[where] != clean[where]).any(dim=-1).all()
    assert torch.equal(result.counts_BT["video"], video)
    assert torch.equal(result.counts_BT["proprioception"], video)
    assert torch.equal(result.counts_BT["action"][:, 1:], action[:, 1:])
    assert not result.counts_BT["action"][:, 0].any()


@pytest.mark.parametrize("use", USES)
def test_actions_modulate_the_frames_they_lead_to_unless_noised(use: str) -> None:
    result = noised(use)
    action = actions_noised(use, history_of(result))
    for view in (result.student, result.teacher):
        known = view.conditions.action_known_BT
        assert known is not None
        assert not known[:, 0].any()
        assert torch.equal(known[:, 1:] > 0, ~action[:, 1:])


@pytest.mark.parametrize("use", USES)
def test_timesteps_of_a_frame_are_t_s_its_actions_and_unknown(use: str) -> None:
    result = noised(use)
    history = history_of(result)
    video, action = video_noised(use, history).float(), actions_noised(use, history).float()
    rows = result.student.conditions.timesteps_BTR
    # t and s of a clip, read from its last frame, whichever tokens are noised there.
    last = rows[:, -1].amax(dim=0)
    assert (last <= 1).all()
    t = rows[:, -1, ROW_ACTION if use == "inverse" else ROW_T]
    expected = torch.stack(
        (video * t[:, None], rows[..., ROW_S], action * t[:, None], torch.ones(B, T)), dim=-1
    )
    assert torch.equal(rows, expected)
    s = rows[:, -1, ROW_S]
    assert torch.equal(rows[..., ROW_S], video * s[:, None])
    teacher = result.teacher.conditions.timesteps_BTR
    if use != "inverse":
        least = torch.minimum(t, s)[:, None]
        assert (t < s).any() and (s < t).any()
        expected = torch.stack((video * least, video * least, action * least), dim=-1)
        assert torch.equal(teacher[..., :ROW_UNKNOWN], expected)
    assert (teacher <= rows).all()
    assert (teacher[..., ROW_UNKNOWN] == 1).all()


@pytest.mark.parametrize("mask_ratio", [0.0, 0.3])
def test_tokens_take_the_second_timestep_by_the_mask_ratio(mask_ratio: float) -> None:
    rows = noised("world", clips(200, T), mask_ratio=mask_ratio).student.conditions.row_BTM
    assert rows is not None
    assert set(rows[..., :N].unique().tolist()) <= {ROW_T, ROW_S}
    assert abs(float((rows[..., :N] == ROW_S).float().mean()) - mask_ratio) < 0.02
    assert (rows[..., N + 1] == ROW_T).all()


@pytest.mark.parametrize("use", USES)
def test_diffusion_forcing_draws_a_timestep_for_every_future_frame(use: str) -> None:
    frames, chosen = 4, TimestepDistribution("logit-normal", shift=2.95)
    given = clips(3000, frames)
    result = noised(use, given, mask_ratio=0.0, per_frame=True, distribution=chosen)
    history = history_of(result)
    times = token_times(result.student)
    assert not times[..., :N][history].any()
    known = history.clone()
    known[:, 0] = False
    assert not times[..., N][known].any()
    # All that is noised of a frame is so alike: its video, proprioception and action.
    at = times[..., N if use == "inverse" else 0]
    if use != "inverse":
        assert torch.equal(times[..., :N], at[..., None].expand(-1, -1, N))
        assert torch.equal(times[..., N + 1], at)
    if use == "policy":
        assert torch.equal(times[:, 1:, N], at[:, 1:])
    # The marginal of each frame is p(t), and one frame's says nothing of another's.
    expected = chosen.sample((100_000,), seeded(9))
    for frame in range(1, frames):
        found = at[:, frame][~history[:, frame]]
        for share in (0.1, 0.5, 0.9):
            assert abs(float((found < expected.quantile(share)).float().mean()) - share) < 0.04
    both = ~history[:, 1]
    pairs = torch.corrcoef(at[both, 1:].T)
    assert (pairs - torch.eye(frames - 1)).abs().max() < 0.1


def test_a_cleaner_teacher_is_less_noised_by_up_to_the_gap() -> None:
    result = noised("world", clips(3000, 2), mask_ratio=0.0, gap=0.2)
    student, teacher = (token_times(view)[:, 1, :N] for view in (result.student, result.teacher))
    assert torch.equal(student, student[:, :1].expand(-1, N))
    assert torch.equal(teacher, teacher[:, :1].expand(-1, N))
    less = (student - teacher)[:, 0]
    assert less.min() >= 0 and less.max() <= 0.2
    inside = less[student[:, 0] > 0.2] / 0.2
    for share in (0.1, 0.5, 0.9):
        assert abs(float((inside < share).float().mean()) - share) < 0.04
    for share in (0.1, 0.5, 0.9):
        assert abs(float((student[:, 0] < share).float().mean()) - share) < 0.04


@pytest.mark.parametrize("use", USES)
def test_student_and_teacher_share_noise_and_clips_alone_decide_what_is_predicted(
    use: str,
) -> None:
    given = clips(B, T)
    result = noised(use, given)
    clean = patchify(given.latents_BTCHW, PATCH)
    for view in (result.student, result.teacher):
        times = token_times(view)
        x, t = view.frames.video_BTNC, times[..., :N, None]
        torch.testing.assert_close(x, clean + t * result.velocity["video"], atol=1e-5, rtol=0)
        for shown, part, velocity, time in (
            (
                view.frames.state_BTP,
                given.state_BTP,
                result.velocity["proprioception"],
                times[..., N + 1],
            ),
            (view.frames.action_BTA, given.action_BTA, result.velocity["action"], times[..., N]),
        ):
            assert shown is not None and part is not None and velocity is not None
            expected = part[:, 1:] + time[:, 1:, None] * velocity[:, 1:]
            torch.testing.assert_close(shown[:, 1:], expected, atol=1e-5, rtol=0)
    assert torch.equal(result.student.frames.anchor_BTNC, result.teacher.frames.anchor_BTNC)  # type: ignore[arg-type]


def test_anchor_is_the_last_clean_frame() -> None:
    tokens = randn(3, 5, 2, 4, seed=0)
    found = anchors(tokens, torch.tensor([0, 1, 3]))
    assert not found[0].any()
    for row, frames in ((1, [None, 0, 0, 0, 0]), (2, [None, 0, 1, 2, 2])):
        for frame, last in enumerate(frames):
            expected = torch.zeros(2, 4) if last is None else tokens[row, last]
            assert torch.equal(found[row, frame], expected)


def test_a_clip_shows_its_last_clean_frame_as_anchor() -> None:
    given = clips(B, T)
    result = noised("policy", given)
    clean, anchor = patchify(given.latents_BTCHW, PATCH), result.student.frames.anchor_BTNC
    assert anchor is not None
    for b, prefix in enumerate(history_of(result).sum(dim=1).tolist()):
        for f in range(1, T):
            assert torch.equal(anchor[b, f], clean[b, min(f, prefix) - 1])


def test_only_clips_that_show_how_it_is_done_are_imitated() -> None:
    result = noised("policy", failed(clips(B, T), range(0, B, 2)))
    imitated = result.counts_BT["action"].any(dim=1)
    assert not imitated[::2].any()
    assert imitated[1::2].all()
    told = result.student.conditions.instruction_BTD
    assert told is not None
    assert not told[::2].any()


def test_imitation_ends_before_the_first_action_that_shows_nothing() -> None:
    given = clips(64, 4)
    shown = torch.ones(64, 4, dtype=torch.bool)
    shown[:, 2] = False
    result = noised("policy", replace(given, imitate_BT=shown))
    prefixes = history_of(result).sum(dim=1).tolist()
    assert set(prefixes) == {1, 2, 3}
    for prefix, acts, video in zip(
        prefixes,
        result.counts_BT["action"].tolist(),
        result.counts_BT["video"].tolist(),
        strict=True,
    ):
        if prefix == 1:
            assert acts == video == [False, True, False, False]
        elif prefix == 2:
            assert not any(acts)
            assert video == [False, False, True, True]
        else:
            assert acts == video == [False, False, False, True]


def test_inverse_dynamics_are_learned_from_failures_too() -> None:
    result = noised("inverse", failed(clips(B, T), range(B)))
    assert torch.equal(result.counts_BT["action"].any(dim=1), torch.ones(B) > 0)


@pytest.mark.parametrize("use", USES)
def test_only_frames_whose_actions_are_sought_are_told_the_instruction(use: str) -> None:
    result = noised(use)
    told = result.student.conditions.instruction_BTD
    assert told is not None
    expected = ~history_of(result) & (use == "policy")
    assert torch.equal(told.abs().sum(dim=-1) > 0, expected)
    assert torch.equal(told, result.teacher.conditions.instruction_BTD)  # type: ignore[arg-type]


def test_uses_come_by_their_shares() -> None:
    settings = replace(noising(), uses=(0.5, 0.3, 0.2))
    result = noise_clips(clips(2000, 2), PATCH, settings, streams(2000))
    video, action = result.counts_BT["video"].any(dim=1), result.counts_BT["action"].any(dim=1)
    for found, share in ((video & ~action, 0.5), (video & action, 0.3), (~video & action, 0.2)):
        assert abs(float(found.float().mean()) - share) < 0.04


def test_unknown_proprioception_is_zeros_at_timestep_1_and_counts_in_no_loss() -> None:
    result = noised("world", state_drop=1.0)
    for view in (result.student, result.teacher):
        assert view.frames.state_BTP is not None and view.conditions.row_BTM is not None
        assert not view.frames.state_BTP.any()
        assert (view.conditions.row_BTM[..., N + 1] == ROW_UNKNOWN).all()
    assert not result.counts_BT["proprioception"].any()
    half = noised("world", clips(400, 2), state_drop=0.5).counts_BT["proprioception"][:, 1]
    assert abs(float(half.float().mean()) - 0.5) < 0.1


def test_general_video_has_video_tokens_alone_and_may_begin_noised() -> None:
    given = without_actions(clips(60, T))
    result = noised("world", given, min_prefix=0)
    assert result.student.frames.action_BTA is None
    assert result.student.frames.state_BTP is None
    assert result.velocity.keys() == {"video"}
    assert token_times(result.student).shape == (60, T, N)
    prefixes = result.clean_BT.sum(dim=1)
    assert set(prefixes.tolist()) == set(range(T))
    anchor = result.student.frames.anchor_BTNC
    assert anchor is not None
    assert not anchor[prefixes == 0].any()
    assert torch.equal(result.counts_BT["video"], ~result.clean_BT)


def test_the_action_to_the_first_frame_is_not_sought_even_where_that_frame_is_noised() -> None:
    result = noised("policy", clips(60, T), min_prefix=0)
    assert result.counts_BT["video"][:, 0].any()
    assert not result.counts_BT["action"][:, 0].any()
    for view in (result.student, result.teacher):
        assert view.frames.action_BTA is not None
        assert not view.frames.action_BTA[:, 0].any()
        assert (token_times(view)[:, 0, N] == 1).all()


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("frame", range(T - 1))
def test_what_a_frame_is_shown_never_depends_on_later_frames(use: str, frame: int) -> None:
    given, other = clips(B, T), clips(B, T, seed=50)
    later = torch.arange(T) > frame
    mixed = {}
    for name in ("latents_BTCHW", "action_BTA", "state_BTP"):
        a, b = getattr(given, name), getattr(other, name)
        mixed[name] = torch.where(later.view(1, T, *[1] * (a.ndim - 2)), b, a)
    before, after = noised(use, given), noised(use, replace(given, **mixed))
    for one, two in ((before.student, after.student), (before.teacher, after.teacher)):
        for part, same in ((one.frames, two.frames), (one.conditions, two.conditions)):
            for name, value in vars(part).items():
                if isinstance(value, Tensor):
                    now = slice(0, frame + 1)
                    assert torch.equal(value[:, now], getattr(same, name)[:, now]), name
    assert not torch.equal(before.student.frames.video_BTNC, after.student.frames.video_BTNC)


def test_text_is_dropped_for_whole_clips_and_for_both_networks() -> None:
    given = replace(without_actions(clips(400, 3)), text_BTE=torch.ones(400, 3, 2))
    result = noised("world", given, text_drop=0.25)
    text = result.student.conditions.text_BTE
    assert text is not None and result.teacher.conditions.text_BTE is text
    heard = text.flatten(1).sum(dim=1) / 6
    assert set(heard.tolist()) == {0.0, 1.0}
    assert 0.18 < 1 - heard.mean() < 0.32
    # Text changes nothing else of a clip.
    silent = noised("world", without_actions(given))
    assert silent.student.conditions.text_BTE is None
    assert torch.equal(silent.student.frames.video_BTNC, result.student.frames.video_BTNC)
