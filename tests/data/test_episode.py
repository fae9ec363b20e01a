from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfflow_robotics.data.episode import Episode

SOUND = Episode(
    images=np.zeros((3, 8, 8, 3), np.uint8),
    actions=np.zeros((3, 7), np.float32),
    states=np.zeros((3, 8), np.float32),
    instructions=("go",) * 3,
    success=True,
    source="expert",
    id="train/17",
)


def test_length_is_the_number_of_steps() -> None:
    assert len(SOUND) == 3
    assert len(replace(SOUND, actions=None, states=None, instructions=())) == 3


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("images", np.zeros((0, 8, 8, 3), np.uint8), "no steps"),
        ("images", np.zeros((3, 8, 8), np.uint8), r"shape \(3, 8, 8\)"),
        ("images", np.zeros((3, 8, 8, 3), np.float32), "float32"),
        ("actions", np.zeros((2, 7), np.float32), r"3 frames but actions of shape \(2, 7\)"),
        ("actions", np.full((3, 7), np.nan, np.float32), "actions that are not finite at step 0"),
        ("states", np.full((3, 8), np.inf, np.float32), "states that are not finite at step 0"),
        ("steps_left", np.zeros(2, np.float32), r"3 frames but steps_left of shape \(2,\)"),
        ("steps_left", np.array([1, np.nan, -2], np.float32), "steps_left -2 at step 2"),
        ("instructions", ("go",), "3 frames but 1 instructions"),
    ],
)
def test_faults_name_the_episode(field: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"episode train/17 .*{message}"):
        replace(SOUND, **{field: value})
