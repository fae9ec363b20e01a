"""Processes that play and record episodes side by side."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import selfflow_robotics.envs  # noqa: F401  registers the tasks
from selfflow_robotics.collecting.assignments import Assignment
from selfflow_robotics.collecting.behaviours import Novice
from selfflow_robotics.collecting.recording import record
from selfflow_robotics.data.rt1.features import serialize
from selfflow_robotics.machine.worker_process import worker_processes

_AHEAD = 8  # assignments a worker, so that none waits while a long episode holds back the others
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Playing:
    """How episodes are played."""

    seed: int = 0
    image_size: tuple[int, int] = (64, 80)
    robot: str = "primitive"
    random_steps: int = 40
    world_model: str | None = None  # whose prior makes the mistakes that experts take over from


@dataclass(frozen=True)
class Recorded:
    """One episode as it goes to the writer."""

    assignment: Assignment
    record: bytes
    actions: NDArray[np.float32]  # (S, 7)
    states: NDArray[np.float32]  # (S, 8)
    demonstrated: NDArray[np.bool_] | None  # (S,)
    success: bool


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
    try:
        episode = record(
            _environment(assignment.task, playing),
            assignment.source,
            np.random.SeedSequence(playing.seed, spawn_key=(assignment.index,)),
            assignment.task,
            playing.random_steps,
            _novice(playing.world_model) if assignment.source == "intervened" else None,
        )
    except Exception as error:
        raise RuntimeError(
            f"episode {assignment.index} ({assignment.task}, {assignment.source}, "
            f"seed {playing.seed}) failed: {error}"
        ) from error
    return Recorded(
        assignment,
        serialize(episode, playing.image_size),
        episode.actions,
        episode.states,
        episode.demonstrated,
        episode.success,
    )


@cache
def _environment(task: str, playing: Playing) -> gymnasium.Env[Any, NDArray[np.float32]]:
    size = playing.image_size
    return gymnasium.make(task, image_size=size, robot=playing.robot, disable_env_checker=True)


@cache
def _novice(world_model: str | None) -> Novice:
    """The policy prior of a world model, frame by frame."""
    import torch

    from selfflow_robotics.world_model.world_model import WorldModel

    assert world_model is not None
    torch.set_num_threads(1)
    model = WorldModel.from_pretrained(world_model)

    def act(seen: Mapping[str, Any]) -> NDArray[np.float32]:
        actions = model.react(
            seen["image"][None], seen["instruction"], seen["proprioception"][None]
        )
        return np.asarray(actions[0].numpy())

    return act


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
