from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.evaluation.video.psnr import (
    imagination,
    imagine_episode,
    mean_squared_error,
    psnr,
)
from selfflow_robotics.images.fit import ImageFit


class Adding:
    """A world whose pixels rise by the action, imagined with an error that grows by one a step."""

    image_fit = ImageFit((4, 6))
    state_spec = None
    action_block = 1

    def __init__(self, history_len: int = 3, error: float = 1.0, gain: float = 1.0) -> None:
        self.history_len, self.error, self.gain = history_len, error, gain
        self.seen: list[tuple[int, ...]] = []

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        self.seen.append(frames.shape[:2])
        assert 1 <= frames.shape[1] <= self.history_len
        assert past_actions.shape[:2] == (len(frames), frames.shape[1] - 1)
        levels = frames[..., 0, 0, 0].astype(np.float32)
        np.testing.assert_array_equal(np.diff(levels), past_actions[..., 0])
        return frames[:, -1]

    def rollout(self, context: Any, actions_BKHA: torch.Tensor) -> Any:
        moved = (actions_BKHA[..., 0] * self.gain + self.error).cumsum(-1).numpy()
        return context[:, None, None] + moved[..., None, None, None]

    def decode(self, rollout: Any) -> NDArray[np.uint8]:
        return np.asarray(rollout.clip(0, 255).astype(np.uint8))


def episode(steps: int, rise: float, name: str = "held-out/0") -> Episode:
    levels = 10 + rise * np.arange(steps)
    return Episode(
        images=np.tile(levels[:, None, None, None].astype(np.uint8), (1, 4, 6, 3)),
        actions=np.full((steps, 2), rise, np.float32),
        states=None,
        instructions=(),
        success=None,
        source="expert",
        id=name,
    )


def test_psnr_of_one_level_is_the_closed_form() -> None:
    black, grey = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)
    assert psnr(mean_squared_error(black, grey)) == pytest.approx(20 * np.log10(255))
    white = np.full((4, 6, 3), 255, np.uint8)
    assert psnr(mean_squared_error(black, white)) == pytest.approx(0.0)


def test_error_does_not_wrap_around_in_uint8() -> None:
    low, high = np.full((2, 2, 3), 3, np.uint8), np.full((2, 2, 3), 250, np.uint8)
    assert mean_squared_error(low, high) == mean_squared_error(high, low) == 247.0**2


def test_equal_images_count_as_rounding_error() -> None:
    same = np.zeros((4, 6, 3), np.uint8)
    assert psnr(mean_squared_error(same, same)) == pytest.approx(10 * np.log10(12 * 255**2))


def test_each_horizon_has_the_psnr_of_its_own_error() -> None:
    """The model errs by 1, 2, 3 levels; the copied frame by 4, 8, 12."""
    found = imagination(Adding(), [episode(12, 4.0, "a"), episode(9, 4.0, "b")], horizon=3)
    expected = [20 * np.log10(255 / step) for step in (1, 2, 3)]
    assert found.psnr_H == pytest.approx(expected)
    assert found.pooled_psnr_H == pytest.approx(expected)
    assert found.copy_psnr_H == pytest.approx([20 * np.log10(255 / s) for s in (4, 8, 12)])
    assert found.gain == pytest.approx([20 * np.log10(4)] * 3)
    assert (found.clips, found.episodes, found.horizon) == (9 + 6, 2, 3)


def test_shuffled_actions_come_from_the_other_episode() -> None:
    """Its actions move by 6 instead of 4, or the other way round: 2 levels a step, error 1."""
    episodes = [episode(12, 4.0, "a"), episode(12, 6.0, "b")]
    found = imagination(Adding(), episodes, horizon=2)
    assert found.shuffled_error_ratio_H == pytest.approx([((1 + 2) ** 2 + 1) / 2] * 2)


def test_model_that_ignores_actions_has_ratio_one() -> None:
    episodes = [episode(12, 4.0, "a"), episode(12, 6.0, "b")]
    found = imagination(Adding(gain=0.0), episodes, horizon=2)
    assert set(found.shuffled_error_ratio_H) == {1.0}
    assert found.psnr_H == found.shuffled_psnr_H


def test_same_seed_same_clips_and_never_more_than_asked() -> None:
    episodes = [episode(20, rise, str(rise)) for rise in (1.0, 2.0, 3.0)]
    one, again = (imagination(Adding(), episodes, max_clips=10, seed=3) for _ in range(2))
    assert one == again and one.clips == 10
    assert imagination(Adding(), episodes, max_clips=10, seed=4) != one


def test_larger_frames_are_scaled_to_the_model() -> None:
    small = episode(8, 4.0, "a")
    large = Episode(
        small.images.repeat(3, axis=1).repeat(3, axis=2), small.actions, None, (), None, "x", "b"
    )
    found = imagination(Adding(), [small, large], horizon=1)
    assert found.psnr_H == pytest.approx([20 * np.log10(255)])


def test_whole_episode_restarts_from_truth_every_horizon() -> None:
    """Errors 1, 2, 3, then from the truth again; the last piece is cut to what happened."""
    model = Adding()
    imagined = imagine_episode(model, episode(9, 4.0), horizon=3)
    truth = episode(9, 4.0).images[1:]
    error = imagined.astype(int) - truth
    assert error[:, 0, 0, 0].tolist() == [1, 2, 3, 1, 2, 3, 1, 2]
    assert sorted(model.seen) == [(1, 1), (2, 3)]


def test_other_actions_change_the_future_and_not_the_history() -> None:
    other = np.full((9, 2), 9.0, np.float32)
    imagined = imagine_episode(Adding(error=0.0), episode(9, 4.0), horizon=4, actions=other)
    assert imagined[:4, 0, 0, 0].tolist() == [19, 28, 37, 46]
    assert imagined[4, 0, 0, 0] == 26 + 9


def test_nothing_to_imagine_is_an_error() -> None:
    still = Episode(np.zeros((9, 4, 6, 3), np.uint8), None, None, (), None, "video", "clip 7")
    with pytest.raises(ValueError, match="clip 7 has no actions"):
        imagination(Adding(), [still, still])
    with pytest.raises(ValueError, match="hold 0 clips"):
        imagination(Adding(), [episode(3, 1.0)], horizon=4)
