"""Pick up a coke can that stands or lies on the table."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import mujoco
import numpy as np
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv
from selfflow_robotics.envs.robot import PREFIX
from selfflow_robotics.envs.scene import COKE_CAN, TABLE_TOP, build

ORIENTATIONS = ("standing", "along x", "along y")
_QUATERNIONS = {
    "standing": (1.0, 0.0, 0.0, 0.0),
    "along x": (2**-0.5, 0.0, 2**-0.5, 0.0),
    "along y": (2**-0.5, 2**-0.5, 0.0, 0.0),
}
_CABINET_Y = 0.21


@dataclass(frozen=True)
class Goal:
    """The can's height at rest (m), its orientation, and on how many steps it was well lifted."""

    height: float
    orientation: str
    lifted_steps: int


class PickCokeCan(TabletopEnv):
    """ "pick coke can". The can stands, or lies along or across the table, anywhere in SIMPLER's
    range. Success, judged after every step: both fingers press on the can, nothing but the robot
    touches it, and it is more than 0.01 m above where it rested; or it was more than 0.02 m above
    on 5 steps. A finger presses when MuJoCo's normal contact force exceeds 1e-6 N (SIMPLER: an
    impulse within 80 degrees of the finger's opening direction).
    """

    def _build(self, key: Hashable) -> mujoco.MjModel:
        return build(self.robot, (COKE_CAN,), _CABINET_Y, slide=None)

    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        self._place_robot(0.35, 0.20)
        orientation = ORIENTATIONS[int(rng.integers(len(ORIENTATIONS)))]
        x, y = self._drawn(rng, -0.35, -0.12, 0.0, 0.08), float(rng.uniform(-0.02, 0.42))
        half = COKE_CAN.height / 2 if orientation == "standing" else COKE_CAN.size[0]
        self._place_thing(COKE_CAN, (x, y, TABLE_TOP + half), _QUATERNIONS[orientation])
        return "pick coke can", Goal(TABLE_TOP + half, orientation, 0)

    def _settled_goal(self, goal: Any) -> Any:
        return replace(goal, height=float(self.world.data.body(COKE_CAN.body).xpos[2]))

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        goal: Goal = episode.goal
        gain = float(self.world.data.body(COKE_CAN.body).xpos[2]) - goal.height
        if gain > 0.02:
            goal = replace(goal, lifted_steps=goal.lifted_steps + 1)
            episode = replace(episode, goal=goal)
        only_robot = all(name.startswith(PREFIX) for name in self.contacts(COKE_CAN.body))
        lifted = gain > 0.01 and only_robot and self.grasped(COKE_CAN.body)
        return episode, lifted or goal.lifted_steps >= 5
