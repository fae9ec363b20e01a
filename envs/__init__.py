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

TASKS: tuple[str, ...] = tuple(_TASKS)
"""Ids of the five tasks."""

for _id, (_entry, _steps) in _TASKS.items():
    gymnasium.register(
        _id, entry_point=f"selfflow_robotics.envs.{_entry}", max_episode_steps=_steps
    )

__all__ = ["TASKS"]
