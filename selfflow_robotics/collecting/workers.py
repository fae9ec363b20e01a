"""Processes that play and record episodes side by side."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import selfflow_robotics.envs  # noqa: F401  registers the tasks
from selfflow_robotics.collecting.assignments import Assignment
from selfflow_robotics.collecting.behaviours import WITH_NOVICE
from selfflow_robotics.collecting.labels import Labeller, Labelling, Labels
from selfflow_robotics.collecting.recording import record
from selfflow_robotics.data.rt1.features import serialize
from selfflow_robotics.machine.worker_process import worker_processes
from selfflow_robotics.planning.config import PlannerConfig

_AHEAD = 8  # assignments a worker, so that none waits while a long episode holds back the others
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Playing:
    """How episodes are played."""

    seed: int = 0
    image_size: tuple[int, int] = (64, 80)
    robot: str = "primitive"
    random_steps: int = 40
    world_model: str | None = None  # whose prior or planner experts take over from
    labels: Labelling = "none"
    asked: Mapping[str, float] = field(default_factory=dict)  # of each task, see Labeller.labels
    planner: PlannerConfig | None = None  # by default as the model is best searched with


@dataclass(frozen=True)
class Recorded:
    """One episode as it goes to the writer."""

    assignment: Assignment
    record: bytes
    actions: NDArray[np.float32]  # (S, 7)
    states: NDArray[np.float32]  # (S, 8)
    demonstrated: NDArray[np.bool_]  # (S,)
    success: bool
    labels: Labels | None = None


def record_all(
    assignments: Sequence[Assignment], playing: Playing, workers: int | None = None
) -> Iterator[Recorded]:
    """The episodes in their order, whatever the number of workers.

    Args:
        workers: processes; one a CPU when None, 0: this one.

    Raises:
        RuntimeError: an episode failed, or a process died.
    """
    if workers == 0:
        yield from (play(playing, assignment) for assignment in assignments)
        return
    workers = workers or os.cpu_count() or 1
    remedy = "try again with fewer workers=, or workers=1 to see its last words"
    count = min(workers, len(assignments))
    with _one_thread_each(), worker_processes(count, "played episodes", remedy) as pool:
        yield from in_order(pool, partial(play, playing), assignments, _AHEAD * workers)


def in_order(
    pool: Executor,
    task: Callable[[Assignment], Recorded],
    assignments: Sequence[Assignment],
    ahead: int,
) -> Iterator[Recorded]:
    """Results in order, with at most so many assignments given out.

    `pool.map` gives all out at once: with many it takes seconds, in which a signal that ends the
    command can leave one of the pool's locks held, and the pool never shuts down.
    """
    given: deque[Future[Recorded]] = deque()
    for assignment in assignments:
        given.append(pool.submit(task, assignment))
        if len(given) == ahead:
            yield given.popleft().result()
    while given:
        yield given.popleft().result()


def play(playing: Playing, assignment: Assignment) -> Recorded:
    """One episode, in this process.

    Raises:
        RuntimeError: it failed; the message says which one it is.
    """
    task, source = assignment.task, assignment.source
    seed = np.random.SeedSequence(playing.seed, spawn_key=(assignment.index,))
    labels = None
    try:
        env = environment(task, playing.image_size, playing.robot)
        novice = None
        if playing.world_model is not None and source in WITH_NOVICE:
            from selfflow_robotics.collecting.novices import novice_for

            novice = novice_for(source, playing.world_model, seed, playing.planner)
        labeller = None if playing.labels == "none" else _labeller(env, playing.labels)
        watch = None if labeller is None else labeller.watch
        episode = record(env, source, seed, task, playing.random_steps, novice, watch)
        assert episode.demonstrated is not None
        if labeller is not None:
            labels = labeller.labels(
                episode.demonstrated, episode.success, playing.asked.get(task, 1.0), seed
            )
    except Exception as error:
        raise RuntimeError(
            f"episode {assignment.index} ({task}, {source}, seed {playing.seed}) failed: {error}"
        ) from error
    return Recorded(
        assignment,
        serialize(episode, playing.image_size),
        episode.actions,
        episode.states,
        episode.demonstrated,
        episode.success,
        labels,
    )


@cache
def _labeller(env: gymnasium.Env[Any, Any], labelling: Labelling) -> Labeller:
    return Labeller(env, labelling == "teacher")


@cache
def environment(
    task: str, image_size: tuple[int, int], robot: str
) -> gymnasium.Env[Any, NDArray[np.float32]]:
    """The environment that this process plays a task in."""
    return gymnasium.make(task, image_size=image_size, robot=robot, disable_env_checker=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started inside use one thread each; our own environment is put back."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
