"""The inverse kinematics has an answer wherever the arm has been pushed."""

from __future__ import annotations

import numpy as np
import pytest
from selfflow_robotics.envs.reach import Reach
from selfflow_robotics.envs.robot import ARM

START = np.array([joint.start for joint in ARM])
AHEAD = np.array([0.5, 0.0, 0.8])
DOWN = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


@pytest.mark.parametrize("index", range(len(ARM)), ids=[joint.name for joint in ARM])
@pytest.mark.parametrize("past", [-1.0, -0.1, -1e-9, 1e-9, 0.03, 0.1, 3.0])
def test_a_joint_past_its_range_comes_back(index: int, past: float) -> None:
    joint, arm = ARM[index], START.copy()
    arm[index] = joint.high + past if past > 0 else joint.low + past
    found = Reach().solve(arm, AHEAD, DOWN)
    assert np.isfinite(found).all()
    assert joint.low - 1e-3 <= found[index] <= joint.high + 1e-3
    assert (np.abs(found - arm)[np.arange(len(ARM)) != index] < 0.34).all()


def test_all_joints_past_their_ranges_come_back() -> None:
    for corner in np.random.default_rng(0).random((50, len(ARM))) < 0.5:
        arm = np.array(
            [j.high + 0.5 if up else j.low - 0.5 for j, up in zip(ARM, corner, strict=True)]
        )
        assert np.isfinite(Reach().solve(arm, AHEAD, DOWN)).all()
