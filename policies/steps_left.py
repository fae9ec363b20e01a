"""The true value of a state: the steps that an expert still needs from there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.simulation import copy_of, simulation_of
from selfflow_robotics.policies.experts import STEP, TURN, make_expert

LONGEST = 40
"""Steps on one instruction after which an expert that has not carried it out never will."""

_TRIES = 3


class ExpertSteps:
    """Lets the expert finish from a saved state, in a copy that never draws.

    Args:
        env: a task of this project, made by ``gymnasium.make``.
        noise: standard deviation (m) of what is added to the expert's displacements, to see how far
            the number depends on small things.
        seed: of that noise.

    Raises:
        ValueError: no expert knows the task, or its state cannot be saved.

    Example:
        >>> env = gymnasium.make("selfflow/CloseDrawer-v0")
        >>> _ = env.reset(seed=0)
        >>> ExpertSteps(env)(env.unwrapped.get_state())
        11.0
    """

    def __init__(self, env: gymnasium.Env[Any, Any], noise: float = 0.0, seed: int = 0) -> None:
        self._simulation = copy_of(env)
        self._expert = make_expert(self._simulation.env)
        self._noise, self._rng = noise, np.random.default_rng(seed)

    def __call__(self, state: Any) -> float:
        """Steps to success, 1 or more; infinite where an instruction takes over `LONGEST`."""
        left, _ = self.way(state)
        return float(len(left)) if math.isfinite(left[-1]) else math.inf

    def way(
        self, state: Any, look: Callable[[Any, NDArray[np.float32]], Any] = lambda *_: None
    ) -> tuple[NDArray[np.float32], list[Any]]:
        """What the expert does.

        Returns:
            Before each of its actions, the steps (N,) until the instruction of that moment is
            carried out, each counted as :func:`share_of_step` says and the last one whole; and what
            is seen of the environment and the action. Steps are infinite where they never end; NaN
            where another instruction followed that never ends, for then nobody knows whether the
            first was carried out or given up.
        """
        self._simulation.restore(state)
        env = self._simulation.env
        seen: list[Any] = []
        parts: list[list[float]] = [[]]  # shares of steps, by instruction
        told, solved, over = env.instruction, False, False
        while not (solved or over) and len(parts[-1]) < LONGEST:
            action = self._expert.act()
            if self._noise:
                action[:3] += self._rng.normal(0.0, self._noise, 3).astype(np.float32)
            seen.append(look(env, action))
            parts[-1].append(share_of_step(env, action))
            _, solved, over = self._simulation.play(action)
            changed = env.instruction != told and not solved
            if solved or changed:
                parts[-1][-1] = 1.0
            if changed:
                told = env.instruction
                parts.append([])
        left = np.concatenate([np.cumsum(part[::-1])[::-1] for part in parts]).astype(np.float32)
        if not solved:
            last = len(left) - len(parts[-1])
            left[:last], left[last:] = np.nan, np.inf
        return left, seen


def share_of_step(env: Any, action: NDArray[np.float32]) -> float:
    """How much of a whole step an expert's action is, 0.1 to 1: of its way, or all of a gripper's.

    Counted whole, a thing a centimetre away costs as many steps as one at seven, and who goes by
    that has nothing to come closer for.
    """
    moved = max(float(np.linalg.norm(action[:3])) / STEP, float(np.linalg.norm(action[3:6])) / TURN)
    grips = abs(float(action[6]) - (2.0 * env.gripper_closed - 1.0)) > 1.0
    return float(np.clip(1.0 if grips else moved, 0.1, 1.0))


def require_able(env: gymnasium.Env[Any, Any], seed: int, so: str) -> None:
    """Refuse an expert that solves none of the first starts from a seed on; `so` is what of it.

    Raises:
        ValueError: that, or no expert knows the task, or its state cannot be saved.
    """
    left, simulation = ExpertSteps(env), simulation_of(env)
    for number in range(_TRIES):
        env.reset(seed=seed + number)
        if math.isfinite(left(simulation.save())):
            return
    name = type(env.unwrapped).__name__
    raise ValueError(f"the expert of {name} solved none of {_TRIES} starts, so {so}")
