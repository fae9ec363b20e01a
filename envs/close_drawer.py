"""Close a drawer that stands open."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import mujoco
import numpy as np
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv
from selfflow_robotics.envs.open_drawer import BEYOND_Y, ROBOT_X, ROBOT_Y
from selfflow_robotics.envs.scene import DRAWERS, Slide, build

CLOSED, START = 0.05, 0.2
STIFF = Slide(friction=12.0, damping=60.0)
"""Stiffer than elsewhere, so that a stray touch does not close a drawer."""


class CloseDrawer(TabletopEnv):
    """ "close {top, middle, bottom} drawer". That drawer starts open by 0.2 m. Success: it is open
    by no more than 0.05 m.
    """

    def _build(self, key: Hashable) -> mujoco.MjModel:
        return build(self.robot, (), 0.0, slide=STIFF)

    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        x = float(rng.uniform(*ROBOT_X))
        self._place_robot(x, self._drawn(rng, *ROBOT_Y, *BEYOND_Y))
        drawer = DRAWERS[int(rng.integers(len(DRAWERS)))]
        self.world.data.joint(f"{drawer}_drawer").qpos[0] = START
        return f"close {drawer} drawer", drawer

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        return episode, self.drawer_opening(episode.goal) <= CLOSED
