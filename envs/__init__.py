"""Gymnasium tasks in MuJoCo. Importing this package registers ``selfflow/...-v0``."""

from __future__ import annotations

import gymnasium

from selfflow_robotics.machine.gl import choose_gl

# Before anything here imports mujoco, which reads the choice while it is imported.
choose_gl()

_TASKS = {
    "selfflow/PickCokeCan-v0": ("pick_coke_can:PickCokeCan", 80),
    "selfflow/MoveNear-v0": ("move_near:MoveNear", 80),
    "selfflow/OpenDrawer-v0": ("open_drawer:OpenDrawer", 113),
    "selfflow/CloseDrawer-v0": ("close_drawer:CloseDrawer", 113),
    "selfflow/OpenDrawerAndPlace-v0": ("open_drawer_and_place:OpenDrawerAndPlace", 200),
}

_LATE_GOALS = {
    "selfflow/PickCokeCanReach-v0": ("late_goals:PickCokeCanReach", 80),
    "selfflow/PickCokeCanAround-v0": ("late_goals:PickCokeCanAround", 80),
    "selfflow/MoveNearPlace-v0": ("late_goals:MoveNearPlace", 80),
    "selfflow/OpenDrawerAround-v0": ("late_goals:OpenDrawerAround", 113),
    "selfflow/CloseDrawerAround-v0": ("late_goals:CloseDrawerAround", 113),
    "selfflow/CloseDrawerAbove-v0": ("late_goals:CloseDrawerAbove", 113),
}

TASKS: tuple[str, ...] = tuple(_TASKS)
"""Ids of the five tasks."""

LATE_GOALS: tuple[str, ...] = tuple(_LATE_GOALS)
"""Ids of tasks whose goal is known only when an episode begins, to evaluate in."""

for _id, (_entry, _steps) in {**_TASKS, **_LATE_GOALS}.items():
    gymnasium.register(
        _id, entry_point=f"selfflow_robotics.envs.{_entry}", max_episode_steps=_steps
    )

__all__ = ["LATE_GOALS", "TASKS"]
