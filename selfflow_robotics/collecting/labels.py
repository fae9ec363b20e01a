"""The steps that an expert still needs from every frame of an episode that was just played.

They count until the frame's own instruction is carried out; another may follow. What an expert did
undisturbed to the end is known in hindsight, and so is every frame from which it did what leads to
a known one. From some of the others, or from all, it is played out in a copy of the simulator that
never draws; a teacher that has seen what decides the state says the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.envs.privileged import privileged_of
from selfflow_robotics.envs.simulation import simulation_of
from selfflow_robotics.policies.experts import make_expert
from selfflow_robotics.policies.steps_left import ExpertSteps, require_able, share_of_step

Labelling = Literal["none", "expert", "teacher"]

_LEAST_SHARE, _WANTED = 0.25, 2000
_FRAMES = 15  # of an episode that are not known in hindsight, about


@dataclass(frozen=True)
class Labels:
    """What is known of an episode's S frames, and what a teacher can learn from."""

    left: NDArray[np.float32]  # (S,) exact; NaN where it was not asked
    asked: NDArray[np.bool_]  # (S,) whether it was played out from there
    seen: NDArray[np.float32]  # (S, F) what decides each frame; F is 0 without a teacher
    branches: NDArray[np.float32]  # (N, F) the same of states on the way from those
    branches_left: NDArray[np.float32]  # (N,)


class Labeller:
    """Watches the episodes of one environment, and labels each when it is over.

    Args:
        env: a task, made by ``gymnasium.make``.
        teacher: whether to keep what a teacher sees.

    Raises:
        ValueError: the state cannot be copied, or no expert or teacher knows the task.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], teacher: bool) -> None:
        self._simulation = simulation_of(env)
        self._steps, self._expert = ExpertSteps(env), make_expert(env)
        self._privileged = privileged_of(env) if teacher else None
        self._states: list[Any] = []
        self._told: list[str] = []
        self._seen: list[NDArray[np.float32]] = []
        self._shares: list[float] = []

    def watch(self) -> None:
        """Keep the present state."""
        self._states.append(self._simulation.save())
        env, action = self._simulation.env, self._expert.act()
        self._told.append(env.instruction)
        self._seen.append(self._look(env, action))
        self._shares.append(share_of_step(env, action))

    def labels(
        self,
        demonstrated: NDArray[np.bool_],
        success: bool,
        share: float,
        seed: np.random.SeedSequence,
    ) -> Labels:
        """Label the frames that were watched, and forget them.

        Args:
            demonstrated: (S,) whether the action after each frame was exactly the expert's.
            success: whether the last frame shows the task done.
            share: of the frames that are not known otherwise, these are played out.
            seed: decides which.
        """
        states, told, seen, shares = self._states, self._told, self._seen, self._shares
        self._states, self._told, self._seen, self._shares = [], [], [], []
        chosen = np.random.default_rng([*seed.generate_state(4)]).random(len(states)) < share
        left = np.full(len(states), np.nan, np.float32)
        asked = np.zeros(len(states), np.bool_)
        branches: list[NDArray[np.float32]] = []
        branches_left: list[float] = []
        for i in reversed(range(len(states))):
            last = i == len(states) - 1
            if last and success:
                left[i] = 0.0
            elif not last and demonstrated[i] and _follows(left[i + 1], told[i : i + 2]):
                ends = told[i] != told[i + 1] or left[i + 1] == 0
                left[i] = 1.0 if ends else left[i + 1] + shares[i]
            elif chosen[i]:
                way, looks = self._steps.way(states[i], self._look)
                left[i], asked[i] = way[0], not math.isnan(way[0])
                # Of an expert that fails, only its first state is known to be lost.
                known = 1 + np.flatnonzero(np.isfinite(way[1:]))
                branches += [looks[step] for step in known]
                branches_left += way[known].tolist()
        return Labels(
            left,
            asked,
            np.stack(seen),
            np.array(branches, np.float32).reshape(len(branches), seen[0].size),
            np.array(branches_left, np.float32),
        )

    def _look(self, env: Any, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a teacher sees: what decides the state, and what the expert would do in it."""
        if self._privileged is None:
            return np.zeros(0, np.float32)
        return np.concatenate([self._privileged(env), action])


def _follows(after: float, told: Sequence[str]) -> bool:
    """Whether the steps after a frame tell its own.

    Where another instruction came, the one before was carried out if it can be done; else nobody
    knows whether it was given up.
    """
    return math.isfinite(after) if told[0] != told[1] else not math.isnan(after)


def counted(labels: Sequence[Labels]) -> str:
    """How many frames are labelled in which way, in words."""
    frames = sum(len(one.left) for one in labels)
    known = sum(int((~np.isnan(one.left)).sum()) for one in labels)
    asked = sum(int(one.asked.sum()) for one in labels)
    return (
        f"{frames} frames labelled: {known - asked} in hindsight, {asked} played out, "
        f"{frames - known} by a teacher"
    )


def share_asked(episodes: int) -> float:
    """Which share of a task's frames that are not known in hindsight is played out.

    A quarter, about a tenth of all; more where that would teach a teacher little.

    Args:
        episodes: of the task.
    """
    return min(max(_LEAST_SHARE, _WANTED / (_FRAMES * episodes)), 1.0)


def check_labels(tasks: Sequence[gymnasium.Env[Any, Any]], labelling: Labelling, seed: int) -> None:
    """Refuse labels that nobody can give, before anything is recorded.

    Raises:
        ValueError: a task whose state cannot be copied, that no expert or teacher knows, or that
            its expert does not solve.
    """
    for env in tasks:
        Labeller(env, labelling == "teacher")
        name = type(env.unwrapped).__name__
        needs = "the steps that it needs label nothing; mend the expert"
        require_able(env, seed, f"{needs}, leave {name} out or say labels=none")
