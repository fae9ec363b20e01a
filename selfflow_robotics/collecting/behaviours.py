"""How recorded actions come about: an expert's, disturbed or taking over, or play at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Action = NDArray[np.float32]  # (7,), RT1_ACTIONS
State = NDArray[np.float32]  # (8,), RT1_STATE
Observation = Mapping[str, Any]  # of one of this project's tasks
Novice = Callable[[Observation], Action]
"""A policy in one episode, such as a trained model's prior."""


class Behaviour(Protocol):
    """Chooses what is executed and recorded, step by step, in one episode."""

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """The next action, perhaps outside the bounds.

        Args:
            expert: says what the expert would do now; call it at most once, and only where what
                it says decides the action: an action equal to it is taken for a demonstration.
            observation: what is seen and felt now.
        """
        ...


class Expert:
    """What the expert does."""

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        return expert()


class Perturbed:
    """The expert, disturbed for 1 to 3 steps at a time, and between them exactly the expert.

    So the data show how it gets back on its way without a disturbed action to be imitated.
    """

    random = 0.3  # share of disturbances whose actions have nothing of the expert's
    flip = 0.2  # share of disturbances in which the gripper does something else

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.often = rng.uniform(0.05, 0.3)  # chance a step that disturbed actions begin
        self.displacement = rng.uniform(0.01, 0.06)  # standard deviation of what is added, m
        self.rotation = rng.uniform(0.03, 0.15)  # rad
        self._left = 0
        self._keep = 1.0
        self._gripper: float | None = None

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        rng = self._rng
        action = expert().astype(np.float32)
        if self._left == 0:
            if rng.random() >= self.often:
                return action
            self._left = int(rng.integers(1, 4))
            self._keep = float(rng.random() >= self.random)
            self._gripper = float(rng.choice([-1.0, 1.0])) if rng.random() < self.flip else None
        self._left -= 1
        displacement = self.displacement if self._keep else 0.08
        action[:3] = self._keep * action[:3] + rng.normal(0.0, displacement, 3)
        action[3:6] = self._keep * action[3:6] + rng.normal(0.0, self.rotation, 3)
        if self._gripper is not None:
            action[6] = self._gripper
        return action


class Intervened:
    """A novice acts, and from time to time the expert takes over (DAgger, arXiv 1011.0686).

    So the data show how to get on from where the novice's own mistakes lead, which no disturbance
    of the expert comes upon.
    """

    novice_steps, expert_steps = 16, 6  # greatest lengths of a stretch

    def __init__(self, rng: np.random.Generator, novice: Novice) -> None:
        self._rng, self._novice = rng, novice
        self._left, self._expert = 0, True

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        if self._left == 0:
            self._expert = not self._expert
            longest = self.expert_steps if self._expert else self.novice_steps
            self._left = int(self._rng.integers(1, longest + 1))
        self._left -= 1
        return expert() if self._expert else self._novice(observation)


class RandomPlay:
    """Moves between random points with correlated noise, so that the arm gets about and touches.

    Most points lie around the place where play began, which may be an expert's; the others are
    above the table; all are where the camera sees the gripper. The tool turns about its first
    orientation. Each episode has its own speed and unrest; the gripper keeps its command for a few
    steps.
    """

    around = np.array([0.10, 0.11, 0.06])  # m, standard deviation of points around the start
    low = np.array([0.46, -0.24, 0.80])  # m, the space above the table that is seen
    high = np.array([0.82, 0.24, 1.00])

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._speed = rng.uniform(0.03, 0.12)
        self._unrest = rng.uniform(0.005, 0.05)
        self._twist = rng.uniform(0.02, 0.12)
        self._drift = np.zeros(6)
        self._gripper = 0.0
        self._start: State | None = None
        self._target = np.zeros(3)

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        rng, state = self._rng, observation["proprioception"]
        if self._start is None:
            self._start = state.copy()
            self._target = self._draw_target(state)
        way = self._target - state[:3]
        distance = float(np.linalg.norm(way))
        if distance < 0.04 or rng.random() < 0.15:
            self._target = self._draw_target(self._start)
        self._drift = 0.7 * self._drift + 0.7 * rng.standard_normal(6)
        if rng.random() < 0.2:
            self._gripper = float(rng.choice([-1.0, 0.0, 1.0], p=[0.25, 0.5, 0.25]))
        action = np.zeros(7, np.float32)
        action[:3] = way * min(1.0, self._speed / max(distance, 1e-6))
        action[:3] += self._unrest * self._drift[:3]
        action[3:6] = self._twist * self._drift[3:] + 0.3 * turn(state[3:7], self._start[3:7])
        action[6] = self._gripper
        return action

    def _draw_target(self, start: State) -> NDArray[np.float64]:
        if self._rng.random() < 0.6:
            point = self._rng.normal(start[:3], self.around)
            point[:2] = point[:2].clip(self.low[:2], self.high[:2])
            point[2] = min(point[2], self.high[2])
            return point
        return self._rng.uniform(self.low, self.high)


class Wander:
    """The expert, then play at random, then the expert undisturbed to the end.

    So the data show the way back from wherever play leads, with hindsight that nobody disturbs.
    """

    most_play = 12  # steps

    def __init__(self, rng: np.random.Generator) -> None:
        self._begin = lead(rng)
        self._end = self._begin + int(rng.integers(1, self.most_play + 1))
        self._rng, self._play = rng, RandomPlay(rng)
        self._step = -1

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        self._step += 1
        astray = self._begin <= self._step < self._end
        return self.stray(expert, observation) if astray else expert()

    def stray(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """What is done between the expert's two turns."""
        return self._play.act(expert, observation)


class Shut(Wander):
    """As :class:`Wander`, playing with the gripper shut on nothing: what it holds is dropped first.

    Experts shut it on something alone, and who has seen nothing else takes shut for held.
    """

    _emptied = False

    def stray(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Wander.stray`."""
        action = super().stray(expert, observation)
        holds = not self._emptied and observation["proprioception"][7] > 0.5
        action[6] = -1.0 if holds else 1.0
        self._emptied = True
        return action


class Fumble(Wander):
    """As :class:`Wander`, missing what is to be held: the gripper shuts beside it and is drawn off.

    A planner errs so as soon as something is hard to see. Near misses beside what holds show a
    world model where one ends and the other begins; some do hold.
    """

    miss = 0.005, 0.08  # m, least and greatest standard deviation of how far aside

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(rng)
        self._begin //= 2
        self._end = self._begin + int(rng.integers(8, 26))
        self._plan: list[str] = []
        self._aside, self._way = np.zeros(3), np.zeros(3)

    def stray(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Wander.stray`."""
        rng = self._rng
        if not self._plan:
            self._aside = rng.normal(0.0, rng.uniform(*self.miss), 3)
            self._way = 0.06 * _OFF[int(rng.integers(len(_OFF)))] + rng.normal(0.0, 0.015, 3)
            near, off = int(rng.integers(3, 9)), int(rng.integers(1, 4))
            self._plan = ["near"] * near + ["shut"] + ["off"] * off + ["open"]
        now = self._plan.pop(0)
        if now == "near":  # what is added stays the distance that the expert is kept from its goal
            action = expert().astype(np.float32)
            action[:3] += self._aside
            action[6] = min(action[6], 0.0)
            return action
        action = np.zeros(7, np.float32)
        action[:3] = self._way if now == "off" else rng.normal(0.0, 0.01, 3)
        action[6] = -1.0 if now == "open" else 1.0
        return action


_OFF = np.array(
    [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]
)
"""Ways off: up, as things are lifted; back, as drawers are pulled; aside."""


class Planned:
    """A planner acts for 10 to 25 steps, from the start or from where an expert has got to.

    After them the expert finishes in half of the episodes; the others end.

    Attributes:
        limit: steps of the episode; None where the expert finishes it.
    """

    def __init__(self, rng: np.random.Generator, novice: Novice) -> None:
        self._novice = novice
        self._begin = lead(rng) if rng.random() < 0.5 else 0
        self._end = self._begin + int(rng.integers(10, 26))
        self.limit = self._end if rng.random() < 0.5 else None
        self._step = -1

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        self._step += 1
        return self._novice(observation) if self._begin <= self._step < self._end else expert()


class Alone:
    """A planner to the end."""

    def __init__(self, rng: np.random.Generator, novice: Novice) -> None:
        self._novice = novice

    def act(self, expert: Callable[[], Action], observation: Observation) -> Action:
        """See :meth:`Behaviour.act`."""
        return self._novice(observation)


def lead(rng: np.random.Generator) -> int:
    """Steps of an expert before somebody else acts: up to 13, or in a quarter of cases up to 40."""
    return int(rng.integers(0, 14) if rng.random() < 0.75 else rng.integers(14, 41))


def turn(now: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """The rotation that leads from one orientation to another, (4,) unit quaternions xyzw.

    Returns:
        (3,) axis-angle vector in base axes, rad, no longer than pi.
    """
    a, b = now.astype(np.float64), wanted.astype(np.float64)
    imaginary = a[3] * b[:3] - b[3] * a[:3] - np.cross(b[:3], a[:3])
    real = float(a @ b)
    length = float(np.linalg.norm(imaginary))
    if length < 1e-9:
        return np.zeros(3)
    angle = 2.0 * np.arctan2(length, abs(real)) * np.copysign(1.0, real)
    return np.asarray(imaginary * (angle / length))


_ALONE: dict[str, Callable[[np.random.Generator], Behaviour]] = {
    "expert": lambda rng: Expert(),
    "perturbed": Perturbed,
    "random": RandomPlay,
    "wander": Wander,
    "shut": Shut,
    "fumble": Fumble,
}
WITH_NOVICE: dict[str, Callable[[np.random.Generator, Novice], Behaviour]] = {
    "intervened": Intervened,
    "planner": Planned,
    "alone": Alone,
}
"""Behaviours of a novice, which a world model has to make."""


def behaviour_for(source: str, rng: np.random.Generator, novice: Novice | None = None) -> Behaviour:
    """The behaviour that a source names, with its own draws from rng.

    Raises:
        ValueError: no such behaviour, or one that needs a novice and got none.
    """
    if source in _ALONE:
        return _ALONE[source](rng)
    if source not in WITH_NOVICE:
        names = ", ".join([*_ALONE, *WITH_NOVICE])
        raise ValueError(f'nobody acts as "{source}"; choose one of {names}')
    if novice is None:
        raise ValueError("an expert can take over from a novice only; name a model that acts")
    return WITH_NOVICE[source](rng, novice)
