"""What a world model is shown of each environment's past."""

from __future__ import annotations

import numpy as np
import pytest
from selfflow_robotics.envs.mapping import Observations
from selfflow_robotics.policies.history import History

from selfflow_robotics.images.fit import ImageFit


def seen(*values: int, size: tuple[int, int] = (4, 6), states: bool = True) -> Observations:
    images = np.stack([np.full((*size, 3), value, np.uint8) for value in values])
    proprioception = np.array([[value, -value] for value in values], np.float32)
    texts = tuple(f"task {value}" for value in values)
    return Observations(images, texts, proprioception if states else None)


def test_keeps_the_last_frames_and_what_was_done_between_them() -> None:
    history = History(3, ImageFit((4, 6)), action_size=1)
    history.reset([5])
    for value in range(1, 6):
        history.see(seen(value), [5])
        window = history.window([5])
        shown = list(range(max(1, value - 2), value + 1))
        assert window.frames[0, :, 0, 0, 0].tolist() == shown
        assert window.past_actions[0, :, 0].tolist() == shown[:-1]
        assert window.states is not None and window.states[0, :, 1].tolist() == [-v for v in shown]
        assert window.instruction == (f"task {value}",)
        history.act(np.array([[value]], np.float32), [5])


def test_a_reset_in_the_middle_forgets_one_row_only() -> None:
    history = History(4, ImageFit((4, 6)), action_size=1)
    history.reset([0, 1, 2])
    for value in range(3):
        history.see(seen(value, 10 + value, 20 + value), [0, 1, 2])
        history.act(np.zeros((3, 1), np.float32), [0, 1, 2])
    history.reset([1])
    history.see(seen(3, 50, 23), [0, 1, 2])
    assert history.same_length([0, 1, 2]) == [[0, 2], [1]]
    assert history.window([2, 0]).frames[:, :, 0, 0, 0].tolist() == [[20, 21, 22, 23], [0, 1, 2, 3]]
    assert history.window([1]).frames[:, :, 0, 0, 0].tolist() == [[50]]
    assert history.window([1]).past_actions.shape == (1, 0, 1)


def test_a_history_of_one_frame_has_no_actions() -> None:
    history = History(1, ImageFit((4, 6)), action_size=7)
    history.reset([0])
    for value in range(2):
        history.see(seen(value, states=False), [0])
        assert history.window([0]).past_actions.shape == (1, 0, 7)
        assert history.window([0]).states is None
        history.act(np.zeros((1, 7), np.float32), [0])


def test_frames_are_scaled_to_what_the_model_sees_without_aliasing() -> None:
    history = History(1, ImageFit((4, 6)), action_size=1)
    history.reset([0])
    stripes = np.zeros((1, 40, 60, 3), np.uint8)
    stripes[:, :, ::2] = 255
    history.see(Observations(stripes, ("",), None), [0])
    shown = history.window([0])
    assert shown.frames.shape == (1, 1, 4, 6, 3)
    assert abs(shown.frames.astype(int) - 127).max() < 12
    assert shown.instruction is None


def test_keeps_what_it_saw_when_the_environment_reuses_its_memory() -> None:
    history, shared = History(2, ImageFit((4, 6)), action_size=1), seen(1)
    history.reset([0])
    for value in (1, 2):
        shared.image[:] = value
        history.see(shared, [0])
        history.act(np.zeros((1, 1), np.float32), [0])
    assert history.window([0]).frames[0, :, 0, 0, 0].tolist() == [1, 2]


def test_acting_before_an_episode_begins_is_an_error() -> None:
    history = History(1, ImageFit((4, 6)), action_size=1)
    history.reset([0])
    with pytest.raises(ValueError, match=r"rows \[3\] act before their episode began"):
        history.see(seen(1, 2), [0, 3])
    with pytest.raises(ValueError, match="2 images and 2 instructions were given for 1 rows"):
        history.see(seen(1, 2), [0])
