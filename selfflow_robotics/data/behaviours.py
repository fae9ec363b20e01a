"""How recorded actions come about: the expert's, the expert's disturbed, or play at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Action = NDArray[np.float32]  # (7,), RT1_ACTIONS


class Behaviour(Protocol):
    """Chooses what is executed and recorded, step by step, in one episode."""

    def act(self, expert: Callable[[], Action], tool: NDArray[np.float32]) -> Action:
        """The next action, perhaps outside the bounds.

        Args:
            expert: says what the expert would do now; call it at most once.
            tool: (3,) tool point in the robot's base frame, m.
        """
        ...


class Expert:
    """What the expert does."""

    def act(self, expert: Callable[[], Action], tool: NDArray[np.float32]) -> Action:
        """See :meth:`Behaviour.act`."""
        return expert()


@dataclass(frozen=True)
class Disturbance:
    """How strongly an expert is disturbed; drawn anew for every episode."""

    displacement: float  # standard deviation, m
    rotation: float  # standard deviation, rad
    burst: float  # chance a step that 1 to 3 random actions begin
    flip: float  # chance a step that the gripper does something else

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Disturbance:
        """From hardly any to strong: up to 2.5 cm and 0.1 rad."""
        return cls(
            displacement=float(rng.uniform(0.0, 0.025)),
            rotation=float(rng.uniform(0.0, 0.1)),
            burst=float(rng.uniform(0.0, 0.06)),
            flip=float(rng.uniform(0.0, 0.04)),
        )


class Perturbed:
    """The expert with noise, bursts of random actions and gripper flips, from which it recovers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._strength = Disturbance.draw(rng)
        self._burst_left = 0

    def act(self, expert: Callable[[], Action], tool: NDArray[np.float32]) -> Action:
        """See :meth:`Behaviour.act`."""
        rng, strength = self._rng, self._strength
        action = expert().astype(np.float32)
        if self._burst_left == 0 and rng.random() < strength.burst:
            self._burst_left = int(rng.integers(1, 4))
        if self._burst_left > 0:
            self._burst_left -= 1
            action[:3] = rng.normal(0.0, 0.08, 3)
            action[3:6] = rng.normal(0.0, 0.15, 3)
        else:
            action[:3] += rng.normal(0.0, strength.displacement, 3)
            action[3:6] += rng.normal(0.0, strength.rotation, 3)
        if rng.random() < strength.flip:
            action[6] = rng.choice([-1.0, 1.0])
        return action


class RandomPlay:
    """Moves towards random points with correlated noise, so that the arm gets about and touches.

    Each episode has its own speed and unrest; the gripper keeps its command for a few steps.
    """

    low = np.array([0.35, -0.32, 0.55], np.float32)  # m, the space in which points are drawn
    high = np.array([0.85, 0.32, 1.10], np.float32)

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._speed = rng.uniform(0.03, 0.15)
        self._unrest = rng.uniform(0.005, 0.06)
        self._twist = rng.uniform(0.02, 0.2)
        self._drift = np.zeros(6)
        self._gripper = 0.0
        self._target = self._draw_target()

    def act(self, expert: Callable[[], Action], tool: NDArray[np.float32]) -> Action:
        """See :meth:`Behaviour.act`."""
        rng = self._rng
        way = self._target - tool
        distance = float(np.linalg.norm(way))
        if distance < 0.04 or rng.random() < 0.1:
            self._target = self._draw_target()
        self._drift = 0.7 * self._drift + 0.7 * rng.standard_normal(6)
        if rng.random() < 0.2:
            self._gripper = float(rng.choice([-1.0, 0.0, 1.0], p=[0.25, 0.5, 0.25]))
        action = np.zeros(7, np.float32)
        action[:3] = way * min(1.0, self._speed / max(distance, 1e-6))
        action[:3] += self._unrest * self._drift[:3]
        action[3:6] = self._twist * self._drift[3:]
        action[6] = self._gripper
        return action

    def _draw_target(self) -> NDArray[np.float32]:
        return self._rng.uniform(self.low, self.high).astype(np.float32)


def behaviour_for(source: str, rng: np.random.Generator) -> Behaviour:
    """The behaviour that a source names, with its own draws from rng."""
    if source == "expert":
        return Expert()
    if source == "perturbed":
        return Perturbed(rng)
    if source == "random":
        return RandomPlay(rng)
    raise ValueError(f'nobody acts as "{source}"; choose expert, perturbed or random')
