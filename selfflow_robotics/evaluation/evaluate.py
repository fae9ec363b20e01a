"""Run a policy in a task: one episode a seed, several environments at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.envs.mapping import EnvMapping, Observations, observe_env
from selfflow_robotics.evaluation.results import (
    EpisodeResult,
    PlanningTime,
    Recording,
    TaskResult,
)
from selfflow_robotics.evaluation.rows import IDLE
from selfflow_robotics.evaluation.starts import Starts, seed_decides_start
from selfflow_robotics.evaluation.trial import make_row, rate_of, step_limit
from selfflow_robotics.policies.base import Policy

PolicyFactory = Callable[[VectorEnv[Any, Any, Any]], Policy]
"""Makes the policy for these environments; it is made once an evaluation."""


@runtime_checkable
class Decides(Protocol):
    """A policy that tells what it has decided, several steps ahead."""

    def decisions(self, row: int) -> Sequence[Any]:
        """Decisions of the row's present episode, each with ``step`` and ``actions_HA``."""
        ...


def evaluate(
    task_id: str,
    policy_factory: PolicyFactory,
    seeds: Sequence[int],
    num_envs: int = 8,
    image_size: tuple[int, int] | None = None,
    *,
    mapping: EnvMapping | None = None,
    env_options: Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    record: int = 0,
    on_decision: Callable[[int], None] | None = None,
    on_episode: Callable[[EpisodeResult], None] | None = None,
) -> TaskResult:
    """Evaluate one policy in one task.

    A seed is one episode: its environment is reset with it, and the policy's row too, so that the
    result does not depend on `num_envs` or on the order of the seeds. An episode ends with the
    first ``info["success"]``, with the environment's own end or limit, or after `max_steps`. A row
    whose seeds have run out costs nothing. A seed whose start is already solved proves nothing: it
    is left out and listed in ``solved_at_start``. Whether seeds decide the starts is tried in an
    environment made for that, and told in ``starts``.

    Args:
        task_id: Gymnasium id; ``info`` must carry ``success`` and may carry ``subtask``, in
            the forms that :mod:`~selfflow_robotics.evaluation.rows` reads.
        policy_factory: makes the policy from the vector environment.
        seeds: different from each other, 0 or more.
        num_envs: rows; at most as many as seeds are made.
        image_size: height and width handed to the task; its own default when None.
        mapping: where observations and actions are found in an environment of other people's.
        env_options: further keywords for ``gymnasium.make``.
        max_steps: limit for tasks that have none, or a lower one.
        record: keep the frames of so many episodes, those of the first seeds.
        on_decision: called after each step with the number of active rows.
        on_episode: called after each episode.

    Raises:
        ValueError: no or repeated seeds, a task without a limit, without ``info["success"]`` or
            without the observations that the mapping names, or actions of the wrong shape.

    Example:
        >>> import selfflow_robotics.envs  # registers the tasks
        >>> rest = lambda envs: ZeroPolicy(RT1_ACTIONS)
        >>> evaluate("selfflow/CloseDrawer-v0", rest, seeds=range(2), max_steps=3).successes
        0
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ValueError(
            f"{len(seeds)} seeds of which {len(set(seeds))} differ were given; "
            "give at least one, each once"
        )
    options = dict(env_options or {})
    if image_size is not None:
        options["image_size"] = image_size
    rows = max(1, min(num_envs, len(seeds)))

    def make() -> gymnasium.Env[Any, Any]:
        return make_row(task_id, options)

    decided = seed_decides_start(make, seeds[0])
    envs = SyncVectorEnv([make] * rows, autoreset_mode=AutoresetMode.DISABLED)
    try:
        limit = max_steps or step_limit(envs.envs[0], task_id)
        policy, kept = policy_factory(envs), set(seeds[:record])
        run = _Run(task_id, envs, policy, mapping, limit, [*seeds], kept)
        found = run.all(on_decision, on_episode)
        different = {start for env in envs.envs for start in env.get_wrapper_attr("starts")}
        return replace(found, starts=Starts(decided, len(different)), rate_hz=rate_of(envs.envs[0]))
    finally:
        envs.close()


@dataclass
class _Open:
    """The episode that a row is in."""

    seed: int
    steps: int = 0
    subtask: int = 0
    planning: float = 0.0
    images: list[NDArray[np.uint8]] | None = None  # None: not recorded
    actions: list[NDArray[np.float32]] = field(default_factory=list)
    states: list[NDArray[np.float32]] = field(default_factory=list)
    instructions: list[str] = field(default_factory=list)


@dataclass
class _Run:
    """Rows, each with the episode it is in, until every seed has had its episode."""

    task: str
    envs: SyncVectorEnv
    policy: Policy
    mapping: EnvMapping | None
    limit: int
    waiting: list[int]  # seeds
    kept: set[int]  # seeds whose episodes are recorded
    observation: Any = None
    open: dict[int, _Open] = field(default_factory=dict)
    done: list[EpisodeResult] = field(default_factory=list)
    solved: list[int] = field(default_factory=list)
    recorded: dict[int, Recording] = field(default_factory=dict)
    calls: list[float] = field(default_factory=list)
    decisions: int = 0

    def all(
        self,
        on_decision: Callable[[int], None] | None,
        on_episode: Callable[[EpisodeResult], None] | None,
    ) -> TaskResult:
        """Every seed once."""
        seeds = [*self.waiting]
        self._start(list(range(self.envs.num_envs)))
        while self.open:
            before = len(self.done)
            free = self._step()
            if on_decision is not None:
                on_decision(len(self.open) + len(free))
            if on_episode is not None:
                for result in self.done[before:]:
                    on_episode(result)
            if free:
                self._start(free)
        place = {seed: i for i, seed in enumerate(seeds)}
        self.done.sort(key=lambda result: place[result.seed])
        return TaskResult(
            task=self.task,
            policy=self.policy.name,
            episodes=tuple(self.done),
            planning=_planning_time(self.calls, self.decisions),
            solved_at_start=tuple(self.solved),
            recorded=tuple(self.recorded[seed] for seed in seeds if seed in self.recorded),
        )

    def _start(self, rows: list[int]) -> None:
        """Give these rows their next seeds; without one they rest."""
        while rows:
            taken = rows[: len(self.waiting)]
            for row in taken:
                self.open[row] = _Open(self.waiting.pop(0))
            if resting := rows[len(taken) :]:
                self._reset(dict.fromkeys(resting), **{IDLE: True})
            if not taken:
                return
            info = self._reset({row: self.open[row].seed for row in taken})
            rows = []
            for row in taken:
                if info["success"][row]:
                    self.solved.append(self.open.pop(row).seed)
                    rows.append(row)
                elif self.open[row].seed in self.kept:
                    self.open[row].images = []
            started = [row for row in taken if row not in rows]
            if started:
                with self._own_failures(started):
                    self.policy.reset(started, [self.open[row].seed for row in started])

    def _reset(self, seeds: Mapping[int, int | None], **options: bool) -> dict[str, Any]:
        """Reset rows, each with its seed."""
        rows = range(self.envs.num_envs)
        mask = np.array([row in seeds for row in rows])
        self.observation, info = self.envs.reset(
            seed=[seeds.get(row) for row in rows], options={"reset_mask": mask, **options}
        )
        return info

    def _step(self) -> list[int]:
        """One step of every open episode; returns the rows whose episodes ended."""
        rows = sorted(self.open)
        seen = self._observations(rows)
        began = time.perf_counter()
        with self._own_failures(rows):
            chosen = np.asarray(self.policy.act(seen, rows), np.float32)
        seconds = time.perf_counter() - began
        self.calls.append(seconds)
        self.decisions += len(rows)
        actions = np.zeros(self.envs.action_space.shape or (), np.float32)
        actions[rows] = self._for_environment(chosen, len(rows))
        for i, row in enumerate(rows):
            self._note(self.open[row], seen, i, chosen[i])
        self.observation, _, terminated, truncated, info = self.envs.step(actions)
        ended = []
        after: Observations | None = None
        for row in rows:
            episode = self.open[row]
            episode.steps += 1
            episode.planning += seconds / len(rows)
            episode.subtask = max(episode.subtask, int(info["subtask"][row]))
            success = bool(info["success"][row])
            if success or terminated[row] or truncated[row] or episode.steps >= self.limit:
                if episode.images is not None:
                    after = after or self._observations(rows)
                    self._keep(row, episode, after, rows.index(row), success)
                self.done.append(
                    EpisodeResult(
                        seed=episode.seed,
                        success=success,
                        steps=episode.steps,
                        subtask=episode.subtask,
                        planning_seconds=episode.planning / episode.steps,
                    )
                )
                del self.open[row]
                ended.append(row)
        return ended

    @contextmanager
    def _own_failures(self, rows: Sequence[int]) -> Iterator[None]:
        """Say of whatever a user's own policy raises who failed, and where."""
        try:
            yield
        except Exception as error:
            if type(self.policy).__module__.startswith("selfflow_robotics."):
                raise
            first = self.open[rows[0]]
            others = f" and {len(rows) - 1} others beside it" if rows[1:] else ""
            raise RuntimeError(
                f'policy "{self.policy.name}" failed in {self.task} at step {first.steps + 1} of '
                f"the episode with seed {first.seed}{others}: {type(error).__name__}: {error}; "
                "SELFFLOW_DEBUG=1 shows where"
            ) from error

    def _observations(self, rows: list[int]) -> Observations:
        seen = observe_env(self.observation, self.mapping or EnvMapping())
        return Observations(
            seen.image[rows],
            tuple(seen.instruction[row] for row in rows),
            None if seen.proprioception is None else seen.proprioception[rows],
        )

    def _for_environment(self, chosen: NDArray[np.float32], count: int) -> NDArray[Any]:
        space = self.envs.single_action_space
        if chosen.ndim != 2 or len(chosen) != count:
            raise ValueError(
                f'policy "{self.policy.name}" returned actions of shape {chosen.shape} for '
                f"{count} environments; it must return one row for each"
            )
        if self.mapping is not None:
            return np.asarray(self.mapping.to_environment(chosen, space))
        if chosen.shape[1:] != space.shape:
            raise ValueError(
                f'policy "{self.policy.name}" gives actions of {chosen.shape[1]} entries, task '
                f"{self.task} takes {space}; give an EnvMapping that says which goes where"
            )
        return chosen

    @staticmethod
    def _note(episode: _Open, seen: Observations, index: int, action: NDArray[np.float32]) -> None:
        if episode.images is None:
            return
        episode.images.append(seen.image[index].copy())
        episode.actions.append(action.copy())
        episode.instructions.append(seen.instruction[index])
        if seen.proprioception is not None:
            episode.states.append(seen.proprioception[index].copy())

    def _keep(
        self, row: int, episode: _Open, after: Observations, index: int, success: bool
    ) -> None:
        self._note(episode, after, index, np.zeros_like(episode.actions[0]))
        assert episode.images is not None
        happened = Episode(
            images=np.stack(episode.images),
            actions=np.stack(episode.actions),
            states=np.stack(episode.states).astype(np.float32) if episode.states else None,
            instructions=tuple(episode.instructions),
            success=success,
            source=self.policy.name,
            id=f"{self.task}/{self.policy.name}/{episode.seed}",
        )
        plans: tuple[tuple[int, NDArray[np.float32]], ...] = ()
        if isinstance(self.policy, Decides):
            plans = tuple((d.step, d.actions_HA.copy()) for d in self.policy.decisions(row))
        self.recorded[episode.seed] = Recording(episode.seed, happened, plans)


def _planning_time(calls: Sequence[float], decisions: int) -> PlanningTime:
    if not calls:
        return PlanningTime(0, 0, 0.0, 0.0, 0.0)
    return PlanningTime(
        calls=len(calls),
        decisions=decisions,
        mean=float(np.mean(calls)),
        p95=float(np.percentile(calls, 95)),
        per_decision=sum(calls) / decisions,
    )
