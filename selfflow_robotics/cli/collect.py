"""`selfflow collect`: episodes of the tasks, played by experts and others, as an RT-1 data set.

Every episode has its own seed, so the data do not depend on the number of workers.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from selfflow_robotics.machine.worker_process import follow_the_parent

if TYPE_CHECKING:
    import gymnasium

    from selfflow_robotics.collecting.behaviours import Novice

HELP = """Record episodes of the tasks as a data set with RT-1's features.

Experts, perturbed experts, experts that take over from a world model's policy prior, and random
play run in parallel processes. Writes a TFDS data set (as ArrayRecord, or as TFRecord) to the
folder "out", with action_spec.json, statistics, and which actions are to be imitated
(demonstrated.json), beside the shards. The same seed gives the same data, whatever the number of
workers.
"""

_AHEAD = 8  # assignments a worker, so that none waits while a long episode holds back the others
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Config:
    """Configuration of `selfflow collect`."""

    out: Path = field(
        default=Path("data/tabletop"), metadata={"help": "folder to write; must not exist"}
    )
    tasks: tuple[str, ...] = field(
        default=(), metadata={"help": "which tasks, as PickCokeCan; all when empty"}
    )
    episodes: int = field(default=200, metadata={"from": 1, "help": "episodes a task"})
    episodes_of: dict[str, int] = field(
        default_factory=dict,
        metadata={"help": "another number for one task: episodes_of.OpenDrawerAndPlace=400"},
    )
    perturbed: float = field(
        default=0.45, metadata={"to": 1, "help": "share of episodes with a perturbed expert"}
    )
    intervened: float = field(
        default=0.0,
        metadata={"to": 1, "help": "share in which experts take over from a prior's mistakes"},
    )
    world_model: str | None = field(
        default=None, metadata={"help": "whose prior: a shipped name, a folder, or org/name"}
    )
    random: float = field(
        default=0.25,
        metadata={"to": 1, "help": "share of episodes of random play; experts do the rest"},
    )
    random_steps: int = field(
        default=40, metadata={"from": 1, "help": "steps of an episode of random play"}
    )
    image_size: tuple[int, int] = field(
        default=(64, 80), metadata={"from": 1, "help": "height and width of the images"}
    )
    robot: Literal["primitive", "menagerie"] = field(
        default="primitive", metadata={"help": "body of the robot"}
    )
    container: Literal["array_record", "tfrecord"] = field(
        default="array_record",
        metadata={"help": "array_record for random access, tfrecord for tf.data programs"},
    )
    seed: int = field(default=0, metadata={"help": "decides everything"})
    workers: int | None = field(
        default=None, metadata={"from": 1, "to": 1024, "help": "processes; one a CPU when null"}
    )


@dataclass(frozen=True)
class Assignment:
    """One episode to record."""

    index: int
    task: str  # a gymnasium id
    source: str


@dataclass(frozen=True)
class Recorded:
    """One episode as it goes to the writer."""

    assignment: Assignment
    record: bytes
    actions: NDArray[np.float32]  # (S, 7)
    states: NDArray[np.float32]  # (S, 8)
    demonstrated: NDArray[np.bool_] | None  # (S,)
    success: bool


@dataclass(frozen=True)
class Tally:
    """What was recorded of one task by one kind of player."""

    episodes: int = 0
    successes: int = 0
    steps: int = 0

    def with_one(self, recorded: Recorded) -> Tally:
        """This and one episode more."""
        return Tally(
            self.episodes + 1,
            self.successes + recorded.success,
            self.steps + len(recorded.actions),
        )


def run(config: Config) -> int:
    """Record and write; returns 0.

    Raises:
        FileExistsError: the folder exists.
        ValueError: an unknown task, or shares or numbers that make no sense.
    """
    from selfflow_robotics.data.rt1.writer import Rt1Writer

    assignments = plan(config)
    with Rt1Writer(config.out, config.image_size, config.container) as writer:
        begin = time.monotonic()
        steps = 0
        tallies: dict[tuple[str, str], Tally] = {}
        bar = tqdm(total=len(assignments), unit="episode", desc="collect")
        for recorded in _record_all(assignments, config):
            writer.add_record(
                recorded.record, recorded.actions, recorded.states, recorded.demonstrated
            )
            steps += len(recorded.actions)
            key = (recorded.assignment.task, recorded.assignment.source)
            tallies[key] = tallies.get(key, Tally()).with_one(recorded)
            bar.set_postfix_str(f"{steps / (time.monotonic() - begin):.0f} steps/s", refresh=False)
            bar.update()
        bar.close()
        seconds, size = time.monotonic() - begin, writer.num_bytes
    print(f"{'task':32} {'who':10} {'episodes':>8} {'success':>8} {'steps':>8}")
    for (task, source), tally in sorted(tallies.items()):
        print(f"{task:32} {source:10} {tally.episodes:8} {tally.successes:8} {tally.steps:8}")
    print(
        f"{len(assignments)} episodes, {steps} steps in {seconds:.0f} s "
        f"({steps / seconds:.0f} steps/s), {size / steps:.0f} bytes a step; wrote {config.out}"
    )
    return 0


def plan(config: Config) -> tuple[Assignment, ...]:
    """Who plays which task in which episode; tasks take turns.

    Raises:
        ValueError: an unknown task, or shares or numbers that make no sense.
    """
    from selfflow_robotics.envs import TASKS

    names: dict[str, str] = {
        task.removeprefix("selfflow/").removesuffix("-v0"): task for task in TASKS
    }

    def resolve(name: str) -> str:
        if name in TASKS:
            return name
        if name not in names:
            raise ValueError(f'there is no task "{name}"; choose from {", ".join(names)}')
        return names[name]

    shares = {name: getattr(config, name) for name in ("perturbed", "intervened", "random")}
    if min(shares.values()) < 0 or sum(shares.values()) > 1:
        wrong = ", ".join(f"{name}={share}" for name, share in shares.items())
        raise ValueError(f"{wrong} must be shares from 0 with a sum of at most 1")
    if config.intervened and config.world_model is None:
        raise ValueError(
            f"intervened={config.intervened} needs a policy that makes mistakes; add "
            "world_model=NAME_OR_FOLDER"
        )
    tasks: tuple[str, ...] = tuple(resolve(name) for name in config.tasks) or TASKS
    wanted = dict.fromkeys(tasks, config.episodes)
    wanted |= {resolve(name): number for name, number in config.episodes_of.items()}
    for name, number in {**wanted, "random_steps": config.random_steps}.items():
        if number < 1:
            raise ValueError(f"{number} for {name} makes no data; give a number from 1")
    if config.workers is not None and config.workers < 1:
        raise ValueError(f"workers={config.workers} is too few; give a number from 1, or null")
    turns = [
        (turn / number, order, task, source)
        for order, (task, number) in enumerate(wanted.items())
        for turn, source in enumerate(_sources(number, order, config))
    ]
    return tuple(
        Assignment(index, task, source)
        for index, (_, _, task, source) in enumerate(sorted(turns, key=lambda turn: turn[:2]))
    )


def _sources(number: int, order: int, config: Config) -> Sequence[str]:
    sources: list[str] = []
    for name in ("perturbed", "random", "intervened"):
        sources += [name] * round(getattr(config, name) * number)
    sources = ["expert"] * (number - len(sources)) + sources
    rng = np.random.default_rng([config.seed, order])
    return [sources[i] for i in rng.permutation(len(sources))][:number]  # shares round up


def _record_all(assignments: Sequence[Assignment], config: Config) -> Iterator[Recorded]:
    workers = config.workers if config.workers is not None else os.cpu_count() or 1
    task = partial(
        _record,
        seed=config.seed,
        image_size=config.image_size,
        robot=config.robot,
        random_steps=config.random_steps,
        world_model=config.world_model,
    )
    with _one_thread_each():
        pool = ProcessPoolExecutor(
            min(workers, len(assignments)), get_context("spawn"), initializer=follow_the_parent
        )
        try:
            yield from in_order(pool, task, assignments, _AHEAD * workers)
        except BrokenProcessPool as error:
            raise RuntimeError(
                "a process that played episodes died; is memory short? "
                "try again with fewer workers=, or workers=1 to see its last words"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


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


def _record(
    assignment: Assignment,
    seed: int,
    image_size: tuple[int, int],
    robot: str,
    random_steps: int,
    world_model: str | None,
) -> Recorded:
    from selfflow_robotics.collecting.recording import record
    from selfflow_robotics.data.rt1.features import serialize
    from selfflow_robotics.policies.experts import make_expert

    def acting(inner: Any) -> Callable[[], NDArray[np.float32]]:
        act: Callable[[], NDArray[np.float32]] = make_expert(inner).act
        return act

    try:
        episode = record(
            _environment(assignment.task, image_size, robot),
            acting,
            assignment.source,
            np.random.SeedSequence(seed, spawn_key=(assignment.index,)),
            assignment.task,
            random_steps,
            _novice(world_model) if assignment.source == "intervened" else None,
        )
    except Exception as error:
        raise RuntimeError(
            f"episode {assignment.index} ({assignment.task}, {assignment.source}, seed {seed}) "
            f"failed: {error}"
        ) from error
    return Recorded(
        assignment,
        serialize(episode, image_size),
        episode.actions,
        episode.states,
        episode.demonstrated,
        episode.success,
    )


@cache
def _environment(
    task: str, image_size: tuple[int, int], robot: str
) -> gymnasium.Env[Any, NDArray[np.float32]]:
    import gymnasium

    import selfflow_robotics.envs  # noqa: F401  registers the tasks

    return gymnasium.make(task, image_size=image_size, robot=robot, disable_env_checker=True)


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
