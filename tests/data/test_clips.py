from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import FACTOR, VOCABULARY, episode, latent_episodes

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import NEVER, LatentEpisodes
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.tokenizers.patches import Patches

LENGTHS = (8, 3, 9, 2, 5)


@pytest.fixture(scope="module")
def numbered() -> LatentEpisodes:
    """Episodes whose every latent is 100 * episode + step."""
    made = latent_episodes(LENGTHS)
    value = np.concatenate([100 * e + np.arange(n) for e, n in enumerate(LENGTHS)])
    latents = np.broadcast_to(value[:, None, None, None], made.latents.shape)
    return replace(made, latents=JoinedRows([latents.astype(np.float16)]))


def steps(told: tuple[str, ...], success: bool | None) -> list[float]:
    made = encode_episodes([episode(len(told), success=success, told=told)], Patches(FACTOR))
    return [float(value) for value in made.steps_to_success]


def test_steps_count_down_to_success() -> None:
    assert steps(("a",) * 4, True) == [3, 2, 1, 0]


def test_a_failed_episode_never_gets_there() -> None:
    assert steps(("a",) * 3, False) == [NEVER] * 3
    assert steps(("a", "b", "b"), False) == [NEVER] * 3


def test_each_instruction_has_its_own_countdown() -> None:
    # The frame that brings a new instruction shows the old one done; its own is just begun.
    assert steps(("a", "a", "a", "b", "b", "b", "b"), True) == [3, 2, 1, 3, 2, 1, 0]
    assert steps(("a", "b", "c"), True) == [1, 1, 0]
    assert steps(("a", "b", "a", "a"), True) == [1, 1, 1, 0]


def test_without_instructions_there_is_nothing_to_get_to() -> None:
    made = encode_episodes([replace(episode(3), instructions=())], Patches(FACTOR))
    assert (made.steps_to_success == NEVER).all()
    assert made.with_words(VOCABULARY.of([])).words is None


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_clips_never_straddle_episodes(numbered: LatentEpisodes, frames: int) -> None:
    starts = numbered.starts(frames)
    assert len(starts) == sum(max(n - frames + 1, 0) for n in LENGTHS)
    clips = numbered.clips(starts, frames, numbered.goals(starts, np.random.default_rng(0)))
    value = clips.latents_BTCHW[:, :, 0, 0, 0]
    assert torch.equal(value - value[:, :1], torch.arange(frames).expand(len(starts), -1).float())
    assert len(value[:, 0].unique()) == len(starts)


def test_goals_are_later_frames_of_the_same_episode(numbered: LatentEpisodes) -> None:
    starts = np.repeat(numbered.starts(2), 20)
    clips = numbered.clips(starts, 2, numbered.goals(starts, np.random.default_rng(0)))
    assert clips.goal_BCHW is not None and clips.goal_steps_BT is not None
    goal, value = clips.goal_BCHW[:, 0, 0, 0], clips.latents_BTCHW[:, :, 0, 0, 0]
    assert torch.equal(goal // 100, value[:, 0] // 100)
    assert torch.equal(goal[:, None] - value, clips.goal_steps_BT.float())
    assert (clips.goal_steps_BT[:, 0] > 0).all()
    assert set((goal % 100).long().tolist()) == set(range(1, 9))
    assert clips.goal_state_BP is not None and numbered.states is not None
    index = torch.from_numpy(starts) + clips.goal_steps_BT[:, 0]
    assert torch.equal(clips.goal_state_BP, torch.from_numpy(numbered.states)[index])
    assert numbered.clips(starts, 2).goal_BCHW is None


def test_an_action_is_at_the_frame_it_led_to() -> None:
    source = episode(6)
    assert source.actions is not None and source.states is not None
    encoded = encode_episodes([source], Patches(FACTOR), actions=RT1_ACTIONS, states=RT1_STATE)
    clips = encoded.clips(np.array([2]), 3)
    assert clips.action_BTA is not None and clips.action_known_BT is not None
    assert clips.action_known_BT.tolist() == [[0, 1, 1]]
    expected = torch.from_numpy(RT1_ACTIONS.normalize(source.actions[1:4]))
    torch.testing.assert_close(clips.action_BTA[0], expected)
    assert clips.state_BTP is not None
    torch.testing.assert_close(
        clips.state_BTP[0], torch.from_numpy(RT1_STATE.normalize(source.states[2:5]))
    )
    images = torch.from_numpy(source.images[2:5])
    torch.testing.assert_close(
        clips.latents_BTCHW[0], Patches(FACTOR).encode(images), atol=2e-3, rtol=0
    )


def test_only_clips_of_successes_are_imitated_and_words_are_those_of_their_frames() -> None:
    told = ("pick can",) * 3 + ("open drawer",) * 3
    made = [episode(6, 0, told=told), episode(6, 1, success=False)]
    encoded = encode_episodes(made, Patches(FACTOR), actions=RT1_ACTIONS)
    clips = encoded.with_words(VOCABULARY).clips(np.array([1, 6]), 4)
    assert clips.imitate_BT is not None and clips.words_BTL is not None
    assert clips.imitate_BT.tolist() == [[True] * 4, [False] * 4]
    words = torch.from_numpy(VOCABULARY.encode(["pick can", "open drawer"]))
    assert torch.equal(clips.words_BTL[0], words[[0, 0, 1, 1]])
    assert clips.state_BTP is None


def test_an_action_that_shows_nothing_is_not_imitated_at_the_frame_it_led_to() -> None:
    made = replace(episode(5), demonstrated=np.array([True, False, True, True, False]))
    encoded = encode_episodes([made], Patches(FACTOR), actions=RT1_ACTIONS)
    clips = encoded.clips(np.array([1]), 4)
    assert clips.imitate_BT is not None
    assert clips.imitate_BT.tolist() == [[True, False, True, True]]


def test_clips_of_one_instruction_can_come_more_often() -> None:
    told = ("pick can",) * 3 + ("open drawer",) * 3
    made = [episode(6, 0, told=told), episode(4, 1)]
    encoded = encode_episodes(made, Patches(FACTOR), actions=RT1_ACTIONS)
    assert encoded.starts(3, {"open": 3}).tolist() == [0, 1, 2, 3, 3, 3, 6, 7]
    assert encoded.starts(3, {}).tolist() == encoded.starts(3).tolist()


class EveryFourth(Patches):
    """Takes the first frame of a video and every fourth after it, as Wan's autoencoder counts."""

    temporal = 4  # type: ignore[assignment]

    def encode_video(self, images: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.encode(images)[:: self.temporal]


@pytest.mark.parametrize(("length", "frames"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_a_latent_frame_of_four_steps_has_the_block_of_their_actions(
    length: int, frames: int
) -> None:
    told = ("pick can",) * 3 + ("open drawer",) * (length - 3)
    shown = np.arange(length) != 5
    left = np.arange(length, dtype=np.float32)[::-1].copy()
    source = replace(episode(length, told=told[:length]), demonstrated=shown, steps_left=left)
    made = encode_episodes([source], EveryFourth(FACTOR), actions=RT1_ACTIONS, states=RT1_STATE)
    assert source.actions is not None and source.states is not None
    assert made.actions is not None and made.states is not None
    assert made.latents.shape[0] == frames and made.offsets.tolist() == [0, frames]
    led_from = RT1_ACTIONS.normalize(source.actions)
    assert made.actions.shape == (frames, 28) and not made.actions[0].any()
    for frame in range(1, frames):
        # Latent frame j is of steps 4j-3 to 4j, which actions 4j-4 to 4j-1 led to.
        np.testing.assert_array_equal(
            made.actions[frame].reshape(4, 7), led_from[4 * frame - 4 : 4 * frame]
        )
        assert made.demonstrated[frame] == shown[4 * frame - 4 : 4 * frame].all()
    at = 4 * np.arange(frames)
    np.testing.assert_allclose(made.states, RT1_STATE.normalize(source.states)[at], rtol=1e-6)
    assert made.instructions_at(np.arange(frames)) == [told[i] for i in at]
    whole = encode_episodes([source], Patches(FACTOR))
    np.testing.assert_array_equal(made.steps_to_success * 4, whole.steps_to_success[at])
    assert made.steps_left is not None
    np.testing.assert_array_equal(made.steps_left * 4, left[at])


def test_joined_episodes_stay_apart(numbered: LatentEpisodes) -> None:
    other = latent_episodes((4, 6), seed=9)
    joined = LatentEpisodes.join([numbered, other])
    assert np.diff(joined.offsets).tolist() == [*LENGTHS, 4, 6]
    starts = joined.starts(4)
    assert len(starts) == len(numbered.starts(4)) + len(other.starts(4))
    assert np.array_equal(joined.latents_at(np.arange(27, 37)), other.latents)
    last = joined.clips(starts[-1:], 4)
    assert torch.equal(last.latents_BTCHW, other.clips(other.starts(4)[-1:], 4).latents_BTCHW)


def test_clips_of_video_are_latents_alone() -> None:
    clips = encode_episodes([episode(5)], Patches(FACTOR)).clips(np.array([0]), 3)
    held = {name for name, value in vars(clips).items() if value is not None}
    assert held == {"latents_BTCHW", "more"} and not clips.more
    assert clips.to("cpu").action_BTA is None


def test_episodes_that_lack_what_is_needed_are_named() -> None:
    with pytest.raises(ValueError, match="episode train/3 has no actions"):
        encode_episodes([replace(episode(4, 3), actions=None)], Patches(2), actions=RT1_ACTIONS)
    with pytest.raises(ValueError, match="episode train/4 has no proprioception"):
        encode_episodes([replace(episode(4, 4), states=None)], Patches(2), states=RT1_STATE)
