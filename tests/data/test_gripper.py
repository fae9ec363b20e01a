"""Relative gripper commands as states, by hand and against the rule written as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfflow_robotics.data.gripper import absolute_gripper

OPEN, CLOSED = 1.0, 0.0


@pytest.mark.parametrize(
    ("commands", "states"),
    [
        ([0, 0, 0], [OPEN, OPEN, OPEN]),
        ([0, 1, 0, 0], [OPEN, CLOSED, CLOSED, CLOSED]),
        ([0, -1, 0], [CLOSED, OPEN, OPEN]),
        ([0, 1, 0, -1, 0, 1], [OPEN, CLOSED, CLOSED, OPEN, OPEN, CLOSED]),
        ([0.05, 0.3, -0.09, -0.5], [OPEN, CLOSED, CLOSED, OPEN]),
        ([1, 1, -1], [CLOSED, CLOSED, OPEN]),
        ([], []),
    ],
)
def test_by_hand(commands: list[float], states: list[float]) -> None:
    found = absolute_gripper(np.asarray(commands, np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == states


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30))
def test_as_a_loop(commands: list[float]) -> None:
    signs = [1 if c < -0.1 else -1 if c > 0.1 else 0 for c in commands]
    state = next((-sign for sign in signs if sign), 1)
    expected = []
    for sign in signs:
        state = sign or state
        expected.append(state / 2 + 0.5)
    limit = np.float32(0.1)
    values = np.asarray(list(commands), np.float32)
    if (np.abs(values) == limit).any():
        return
    assert absolute_gripper(values).tolist() == expected
