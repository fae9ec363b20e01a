"""Open the top drawer, then put the apple into it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
from selfflow_robotics.envs.base import EpisodeState, TabletopEnv
from selfflow_robotics.envs.scene import APPLE, TABLE_TOP, Slide, build

DRAWER = "top"
OPEN, STILL_OPEN, FORCED_STEP = 0.15, 0.05, 100


class OpenDrawerAndPlace(TabletopEnv):
    """Sub-task 0 is "open top drawer", sub-task 1 "place apple into top drawer".

    Sub-task 1 begins when the drawer is open by 0.15 m, or at step 100 (SIMPLER: when the policy
    says so, or at step 100). Success: sub-task 1, the drawer open by at least 0.05 m, and the
    apple presses on the drawer's floor (SIMPLER: has done so on any step so far).
    The goal of an episode is whether it did.
    """

    def _build(self, key: Hashable) -> mujoco.MjModel:
        return build(self.robot, (APPLE,), 0.0, slide=Slide())

    def _arrange(self, rng: np.random.Generator) -> tuple[str, Any]:
        robot_x = float(rng.uniform(0.644, 0.72))
        self._place_robot(robot_x, self._drawn(rng, -0.10, 0.10, 0.04, 0.04))
        x, y = float(rng.uniform(-0.08, -0.02)), float(rng.uniform(-0.02, 0.08))
        self._place_thing(APPLE, (x, y, TABLE_TOP + APPLE.height / 2))
        return f"open {DRAWER} drawer", False

    def _judge(self, episode: EpisodeState) -> tuple[EpisodeState, bool]:
        opening = self.drawer_opening(DRAWER)
        if episode.subtask == 0 and (opening >= OPEN or episode.steps >= FORCED_STEP):
            instruction = f"place {APPLE.name} into {DRAWER} drawer"
            episode = replace(episode, subtask=1, instruction=instruction)
        touched = bool(episode.goal) or f"{DRAWER}_tray" in self.contacts(APPLE.body)
        episode = replace(episode, goal=touched)
        return episode, episode.subtask == 1 and opening >= STILL_OPEN and touched
