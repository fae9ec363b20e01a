"""Any environment as a row of an evaluation: it can rest, and reports in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np

from selfflow_robotics.evaluation.starts import digest

IDLE = "idle"
"""The option of ``reset`` that sends a row to rest."""


class Row(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment of an evaluation; its ``info`` holds ``success`` and ``subtask`` alone.

    Once told to rest, it answers steps with its last observation, for free: a vector environment
    steps every row, and this spares those that have no episode left. Messages name the task.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], task: str) -> None:
        super().__init__(env)
        self.task = task
        self.starts: set[str] = set()
        self._last: Any = None
        self._resting = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode, or rest when the options say so."""
        self._resting = bool(options and options.get(IDLE))
        if self._resting:
            return self._last, {"success": False}
        with failing(self.task, "fails when it is reset"):
            self._last, info = self.env.reset(seed=seed, options=options)
        self.starts.add(digest(self._last))
        told = info.get("success")
        return self._last, {"success": told is not None and success(told, self.task)}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One step, or none when resting."""
        if self._resting:
            return self._last, 0.0, False, False, {"success": False, "subtask": 0}
        with failing(self.task, "fails in a step"):
            self._last, reward, terminated, truncated, info = self.env.step(action)
        if "success" not in info:
            raise ValueError(
                f'task {self.task} does not report info["success"] at every step, which alone '
                "counts as success; wrap it so that it does"
            )
        told = {
            "success": success(info["success"], self.task),
            "subtask": subtask(info.get("subtask"), self.task),
        }
        return self._last, reward, bool(terminated), bool(truncated), told


@contextmanager
def failing(task: str, how: str) -> Iterator[None]:
    """Whatever a task raises, as a RuntimeError that names it."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        raise RuntimeError(f"task {task} {how}: {kind}{error}") from error


def success(told: Any, task: str) -> bool:
    """Whether ``info["success"]`` says that the task is done.

    Args:
        told: True, False, 1 or 0, of Python, NumPy or torch, alone or in an array of one entry; or
            robomimic's form, a mapping whose entry "task" is that.

    Raises:
        ValueError: anything else: of a text, nothing or several values it is not known what counts.
    """
    value = told["task"] if isinstance(told, Mapping) and "task" in told else told
    number = _number(value)
    if number not in (0.0, 1.0):
        raise ValueError(
            f'task {task} reports info["success"] as {_shown(told)}, of which it cannot be told '
            "whether the task is done; wrap it so that it gives True or False"
        )
    return number == 1.0


def subtask(told: Any, task: str) -> int:
    """The number of the sub-task that ``info["subtask"]`` names; 0 where it names none.

    Args:
        told: a whole number as in :func:`success`, or None.

    Raises:
        ValueError: anything else; which of two texts is further on is not known.
    """
    if told is None:
        return 0
    number = _number(told)
    if number is None or not number.is_integer():
        raise ValueError(
            f'task {task} reports info["subtask"] as {_shown(told)}; wrap it so that it gives the '
            "number of the sub-task, which rises as the task goes on, or leaves it out"
        )
    return int(number)


def _number(value: Any) -> float | None:
    """The one number that a scalar, array or tensor holds; None where it does not."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    except (TypeError, ValueError):  # ragged, or of no kind that NumPy knows
        return None
    return float(array.item()) if array.size == 1 and array.dtype.kind in "biuf" else None


def _shown(value: Any, most: int = 60) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= most else f"{text[: most - 1]}…"
