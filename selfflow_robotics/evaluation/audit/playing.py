"""States of a task to plan from, and what candidates truly lead to from there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.envs.mapping import EnvMapping, observe_env
from selfflow_robotics.envs.simulation import Simulation, simulation_of
from selfflow_robotics.evaluation.rows import success
from selfflow_robotics.evaluation.starts import digest
from selfflow_robotics.policies.experts import MASTERED, make_expert
from selfflow_robotics.policies.history import History, Window
from selfflow_robotics.policies.steps_left import LONGEST, ExpertSteps, require_able

_AGAIN = 2  # noisy experts whose mean is the label a second time
_NOISE = 0.007  # m
_NEVER = 1.5 * LONGEST  # steps that count for an expert that does not finish


@dataclass(frozen=True)
class Start:
    """A state to plan from."""

    task: str
    seed: int
    step: int  # of the episode
    window: Window  # what was seen up to it, of one row
    saved: Any  # the environment's state; None where it is reached by the same actions again
    actions: tuple[NDArray[Any], ...]  # the environment's own, from its reset to here


@dataclass(frozen=True)
class Future:
    """What one candidate led to."""

    images: NDArray[np.uint8]  # (steps, height, width, 3)
    states: NDArray[np.float32] | None  # (steps, P)
    cost: float  # lower is better
    again: float | None  # the same measured a second time, with noise; None where it has none
    success: bool


class Playing:
    """One environment in which candidates are carried out from the same states.

    What is true is, where an expert knows the task, how many steps success takes from the start of
    a candidate if the expert goes on where it ends; of other tasks, the rewards' negative sum.
    States are saved and restored where that can be done, and else reached by the same actions
    again.

    Args:
        task: Gymnasium id.
        options: for ``gymnasium.make``.
        mapping: how it is read and acted in.
        history: of one row, empty; as long as the world model looks back.

    Raises:
        ValueError: the environment can neither be copied nor be brought to a state twice.
    """

    def __init__(
        self, task: str, options: Mapping[str, Any], mapping: EnvMapping, history: History
    ) -> None:
        self.task, self.mapping, self.history = task, mapping, history
        made = gymnasium.make(task, **options)
        self.has_expert = isinstance(made.unwrapped, MASTERED)
        self._simulation, self.env = _within_reach(made), made
        if self._simulation is None:
            self._require_repeatable()
        else:
            self.env = made.unwrapped  # whose steps no wrapper counts
        noises = [0.0] + [_NOISE] * _AGAIN if self.has_expert else []
        self._left = [ExpertSteps(made, noise, seed) for seed, noise in enumerate(noises)]

    @property
    def truth(self) -> str:
        """What a future's cost is, in words."""
        return "steps to success, an expert going on" if self.has_expert else "negative return"

    def require_truth(self, seed: int) -> None:
        """Refuse an expert that fails, of whose steps all candidates would be alike."""
        if self.has_expert:
            needs = "the steps that it needs tell no candidate from another"
            require_able(self.env, seed, f"{needs}; mend the expert, or leave the task out")

    def start(self, seed: int, rng: np.random.Generator, most: int = 13) -> Start | None:
        """A state up to `most` steps on the expert's way, or of random play where there is none.

        None where the episode ends before.
        """
        self.history.reset([0])
        observation, _ = self.env.reset(seed=seed)
        expert = make_expert(self.env) if self.has_expert else None
        self.env.action_space.seed(seed)
        actions: list[NDArray[Any]] = []
        self._see(observation)
        for _ in range(int(rng.integers(1, most + 1))):
            action = self.env.action_space.sample() if expert is None else expert.act()
            observation, _, terminated, truncated, _ = self.env.step(action)
            if terminated or truncated:
                return None
            actions.append(np.asarray(action))
            done = self.mapping.from_environment(actions[-1][None], self.history.action_size)
            self.history.act(done, [0])
            self._see(observation)
        saved = None if self._simulation is None else self._simulation.save()
        return Start(self.task, seed, len(actions), self.history.window([0]), saved, tuple(actions))

    def carry_out(self, start: Start, actions_SA: NDArray[np.float32]) -> Future:
        """What a sequence of a policy's actions leads to; after success all stays as it is."""
        self._return_to(start)
        images, states, reward, solved_at = [], [], 0.0, 0
        over = False
        own = self.mapping.to_environment(actions_SA, self.env.action_space)
        for step, action in enumerate(own, start=1):
            if not over:
                observation, gain, terminated, truncated, info = self.env.step(action)
                shown = observe_env(observation, self.mapping, vectorized=False)
                reward, over = reward + float(gain), bool(terminated or truncated)
                if "success" in info and success(info["success"], self.task):
                    solved_at = solved_at or step
            images.append(shown.image[0])
            if shown.proprioception is not None:
                states.append(shown.proprioception[0])
        cost, again = -reward, None
        if self.has_expert:
            cost, *noisy = self._steps(solved_at, over, len(own))
            again = float(np.mean(noisy))
        frames = np.stack(images), np.stack(states) if states else None
        return Future(*frames, cost, again, solved_at > 0)

    def close(self) -> None:
        """Free what it draws with."""
        self.env.close()

    def _steps(self, solved_at: int, over: bool, carried_out: int) -> list[float]:
        if solved_at or over:
            return [float(solved_at) or _NEVER] * len(self._left)
        assert self._simulation is not None
        state = self._simulation.save()
        left = [measure(state) for measure in self._left]
        return [carried_out + (steps if math.isfinite(steps) else _NEVER) for steps in left]

    def _return_to(self, start: Start) -> None:
        if self._simulation is not None:
            self._simulation.restore(start.saved)
            return
        self.env.reset(seed=start.seed)
        for action in start.actions:
            self.env.step(action)

    def _see(self, observation: Any) -> None:
        self.history.see(observe_env(observation, self.mapping, vectorized=False), [0])

    def _require_repeatable(self) -> None:
        """Refuse an environment that two times the same leads to two states."""
        shown = []
        self.env.action_space.seed(0)
        action = self.env.action_space.sample()
        for _ in range(2):
            self.env.reset(seed=0)
            shown.append(digest(self.env.step(action)[0]))
        if shown[0] != shown[1]:
            raise ValueError(
                f"task {self.task} can be neither copied nor brought to a state again: one seed "
                "and one action gave two observations, so that candidates cannot be compared; make "
                "reset(seed=) decide all that follows"
            )


def _within_reach(env: gymnasium.Env[Any, Any]) -> Simulation | None:
    """The environment as something to save and restore; None where its wrappers say more."""
    if env.observation_space != env.unwrapped.observation_space:
        return None
    try:
        return simulation_of(env)
    except ValueError:
        return None
