"""Inverse kinematics of the arm: joint angles that bring the tool to a pose."""

from __future__ import annotations

import mink
import mujoco
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.robot import ARM, TOOL, robot_spec

_ITERATIONS = 4
# Most (rad) a joint moves in a control step: four heavy joints, three of the wrist. Longer
# displacements are reached in part, as on the real robot, whose joints need time to speed up.
_JOINT_STEP = (0.14,) * 4 + (0.33,) * 3
# How dearly each joint leaves its start angle (per rad, against 100 per metre of the tool). The
# torso and the gripper cost most, so that the elbow stays aside of the camera.
_POSTURE = (1.8, 0.2, 0.15, 0.22, 0.6, 0.6, 1.4, 0.0, 0.0)
_TOLERANCE = 2e-4  # metres and radians


class Reach:
    """Solves for the seven arm joints with mink; holds no state between calls.

    Of the many joint angles that reach a pose, those near the start angles are preferred, so that
    the arm looks the same whenever the tool is at the same place.
    """

    def __init__(self) -> None:
        self._model = robot_spec("primitive").compile()
        self._configuration = mink.Configuration(self._model)
        self._base = self._model.body("base_link").pos.copy()
        self._arm = np.array([self._model.joint(joint.name).qposadr[0] for joint in ARM])
        start = self._model.qpos0.copy()
        start[self._arm] = [joint.start for joint in ARM]
        self._start = start
        self._tool = mink.FrameTask(
            TOOL, "site", position_cost=100.0, orientation_cost=25.0, lm_damping=1e-4
        )
        self._posture = mink.PostureTask(self._model, cost=np.array(_POSTURE))
        self._posture.set_target(start)
        step = np.array(_JOINT_STEP) / _ITERATIONS
        # A joint further past its range than one iteration moves it has no way back.
        self._lowest = np.array([joint.low for joint in ARM]) - step
        self._highest = np.array([joint.high for joint in ARM]) + step
        speed = {joint.name: most for joint, most in zip(ARM, step, strict=True)}
        self._limits = [
            mink.ConfigurationLimit(self._model),
            mink.VelocityLimit(self._model, speed),
        ]

    def solve(
        self,
        arm: NDArray[np.float64],
        position: NDArray[np.float64],
        rotation: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Joint angles for a tool pose, as near to it as the joints' ranges and speeds allow.

        Args:
            arm: (7,) present joint angles, rad; they may lie past the joints' ranges.
            position: (3,) tool point in the frame of base_link, m.
            rotation: (3, 3) tool orientation in that frame.

        Returns:
            (7,) joint angles, rad.
        """
        start = self._start.copy()
        start[self._arm] = np.clip(arm, self._lowest, self._highest)
        configuration = self._configuration
        configuration.update(start)
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
        target = mink.SE3(np.concatenate([quaternion, position + self._base]))
        self._tool.set_target(target)
        for _ in range(_ITERATIONS):
            velocity = mink.solve_ik(
                configuration,
                [self._tool, self._posture],
                dt=1.0,
                solver="daqp",
                damping=1e-3,
                limits=self._limits,
            )
            configuration.integrate_inplace(velocity, 1.0)
            if np.abs(velocity).max() < _TOLERANCE:
                break
        return np.asarray(configuration.q[self._arm])
