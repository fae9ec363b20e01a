"""Open one of three drawers."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import mujoco
import numpy as np
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv
from selfflow_robotics.envs.scene import DRAWERS, Slide, build

ROBOT_X, ROBOT_Y = (0.65, 0.78), (-0.12, 0.12)
"""Where the robot may stand (m): the nearer part of SIMPLER's 0.65..0.85 and -0.2..0.2."""
BEYOND_Y = (0.06, 0.06)
"""How far beyond it stands at most where places are shifted."""
OPEN = 0.15


class OpenDrawer(TabletopEnv):
    """ "open {top, middle, bottom} drawer". Success: that drawer is open by at least 0.15 m."""

    def _build(self, key: Hashable) -> mujoco.MjModel:
        return build(self.robot, (), 0.0, slide=Slide())

    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        x = float(rng.uniform(*ROBOT_X))
        self._place_robot(x, self._drawn(rng, *ROBOT_Y, *BEYOND_Y))
        drawer = DRAWERS[int(rng.integers(len(DRAWERS)))]
        return f"open {drawer} drawer", drawer

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        return episode, self.drawer_opening(episode.goal) >= OPEN
