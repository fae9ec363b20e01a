"""Whether a task's seed decides how an episode starts, without which seeds count for nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Starts:
    """What the first observations of an evaluation's episodes say about its seeds."""

    decided_by_seed: bool  # one seed, given twice to one environment, gave the same observation
    different: int  # first observations that differ from each other, over all seeds


def seed_decides_start(make: Callable[[], gymnasium.Env[Any, Any]], seed: int) -> bool:
    """Reset an environment of its own twice with one seed, and compare what it shows."""
    env = make()
    try:
        first, again = (digest(env.reset(seed=seed)[0]) for _ in range(2))
    finally:
        env.close()
    return first == again


def digest(observation: Any) -> str:
    """The same for equal observations: arrays, texts and numbers, in mappings and sequences."""
    found = hashlib.blake2b(digest_size=16)

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            for key in sorted(value, key=str):
                found.update(f"{key}:".encode())
                add(value[key])
        elif isinstance(value, (list, tuple)):
            for entry in value:
                add(entry)
        else:
            array = np.asarray(value.cpu() if hasattr(value, "cpu") else value)
            if not array.dtype.hasobject:  # the addresses of objects say nothing
                found.update(f"{array.dtype}{array.shape}".encode())
                found.update(array.tobytes())

    add(observation)
    return found.hexdigest()


def doubt(task: str, starts: Starts, seeds: int) -> str | None:
    """What to say of a task whose seeds do not mean what they should; None where they do."""
    if not starts.decided_by_seed:
        return (
            f"task {task}: reset(seed=) does not decide the start, one seed gave two; "
            f"{seeds} seeds gave {starts.different} different starts, and none can be repeated"
        )
    if starts.different < seeds:
        return (
            f"task {task}: {seeds} seeds gave {starts.different} different starts, so that its "
            "episodes count for fewer than they are"
        )
    return None
