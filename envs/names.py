"""Tasks by the names that users type: `PickCokeCan` stands for `selfflow/PickCokeCan-v0`."""

from __future__ import annotations

import gymnasium
from selfflow_robotics.envs import LATE_GOALS, TASKS

from selfflow_robotics.storage.typed_yaml import nearest


def short_name(task: str) -> str:
    """`selfflow/PickCokeCan-v0` as `PickCokeCan`."""
    return task.rpartition("/")[2].rpartition("-v")[0] or task


_SHORT = {short_name(task): task for task in TASKS}
_PLAYED = _SHORT | {short_name(task): task for task in LATE_GOALS}


def own_task(name: str) -> str:
    """The id of a task of this project.

    Raises:
        ValueError: there is none of that name.
    """
    task = _SHORT.get(name, name)
    if task not in TASKS:
        hint = nearest(name, [*_SHORT, *TASKS])
        raise ValueError(
            f'this command plays the tasks of this project, and "{name}" is none of them'
            f"{hint or ';'} choose from {', '.join(_SHORT)}; other people's tasks are "
            'played by "selfflow evaluate"'
        )
    return task


def task_ids(names: tuple[str, ...]) -> tuple[str, ...]:
    """Gymnasium ids of tasks: `PickCokeCan` stands for `selfflow/PickCokeCan-v0`.

    Args:
        names: short names or any registered id; all tasks of this project when empty.

    Raises:
        ValueError: a task that is not registered.
    """
    found = []
    for name in names or TASKS:
        task = _PLAYED.get(name, name)
        if task not in gymnasium.registry:
            hint = nearest(name, [*_PLAYED, *gymnasium.registry])
            raise ValueError(
                f'there is no task "{name}"{hint or ";"} choose from {", ".join(_PLAYED)}, or '
                "import the package that registers it: imports=PACKAGE"
            )
        found.append(task)
    return tuple(dict.fromkeys(found))
