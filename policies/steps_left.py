"""The true value of a state: the steps that an expert still needs from there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.simulation import copy_of
from selfflow_robotics.policies.experts import make_expert

LONGEST = 40
"""Steps on one instruction after which an expert that has not carried it out never will."""

Seen = TypeVar("Seen")


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
        return self.way(state, lambda env, action: None)[0]

    def way(
        self, state: Any, look: Callable[[Any, NDArray[np.float32]], Seen]
    ) -> tuple[float, list[Seen]]:
        """The steps, and what is seen before each of them: of the environment and the action."""
        self._simulation.restore(state)
        env = self._simulation.env
        seen: list[Seen] = []
        told, since = env.instruction, 0
        while since < LONGEST:
            action = self._expert.act()
            if self._noise:
                action[:3] += self._rng.normal(0.0, self._noise, 3).astype(np.float32)
            seen.append(look(env, action))
            _, solved, over = self._simulation.play(action)
            if solved:
                return float(len(seen)), seen
            if over:
                break
            told, since = (told, since + 1) if env.instruction == told else (env.instruction, 0)
        return math.inf, seen
