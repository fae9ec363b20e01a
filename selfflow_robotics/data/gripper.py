"""A gripper told by changes ("close", "open", "keep") as the state that it is to have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

THRESHOLD = 0.1  # commands between -THRESHOLD and THRESHOLD keep what is


def absolute_gripper(relative: NDArray[np.float32]) -> NDArray[np.float32]:
    """The opening, 1 open and 0 closed, after each of (S,) commands: +1 closes, -1 opens, 0 keeps.

    This is `rel2abs_gripper_actions` of Octo and OpenVLA. The first command that changes anything
    is taken to do so, and the gripper to have been in the opposite state before; an episode without
    such a command has the gripper open.
    """
    opens = np.where(relative < -THRESHOLD, 1, np.where(relative > THRESHOLD, -1, 0))
    changes = np.flatnonzero(opens)
    if not len(changes):
        return np.ones(len(relative), np.float32)
    last = np.maximum.accumulate(np.where(opens != 0, np.arange(len(opens)), -1))
    state = np.where(last >= 0, opens[np.maximum(last, 0)], -opens[changes[0]])
    return (state / 2 + 0.5).astype(np.float32)
