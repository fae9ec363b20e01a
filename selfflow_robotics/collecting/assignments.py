"""Who plays which task in which episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selfflow_robotics.envs import TASKS
from selfflow_robotics.envs.names import short_name


@dataclass(frozen=True)
class Assignment:
    """One episode to record."""

    index: int
    task: str  # a gymnasium id
    source: str


SHARES: Mapping[str, float] = {
    "perturbed": 0.45,  # an expert, disturbed for a few steps now and then
    "random": 0.25,  # play at random
    "intervened": 0.0,  # a model's prior, from which an expert takes over now and then
    "wander": 0.0,  # an expert, random play, and the expert to the end
    "shut": 0.0,  # the same with the gripper shut on nothing
    "fumble": 0.0,  # the same, missing what is to be held by centimetres
    "planner": 0.0,  # a model's planner, after which the expert finishes or nobody does
    "alone": 0.0,  # a model's planner to the end
}
"""Who plays beside the expert, and in which share of a task's episodes by default."""


def assign(
    tasks: Sequence[str] = (),
    episodes: int = 200,
    episodes_of: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    **shares: float,
) -> tuple[Assignment, ...]:
    """Share out the episodes; tasks take turns.

    Args:
        tasks: names as PickCokeCan, or ids; all tasks of this project when empty.
        episodes: of each task.
        episodes_of: another number for some tasks.
        seed: decides who plays when.
        shares: of players, in place of those in :data:`SHARES`; experts do the rest.

    Raises:
        ValueError: an unknown task or player, or shares or numbers that make no sense.
    """
    if unknown := sorted(shares.keys() - SHARES):
        raise ValueError(
            f"nobody plays as {', '.join(unknown)}; give shares of {', '.join(SHARES)}"
        )
    shares = {**SHARES, **shares}
    if min(shares.values()) < 0 or sum(shares.values()) > 1:
        wrong = ", ".join(f"{name}={share}" for name, share in shares.items() if share)
        raise ValueError(f"{wrong} must be shares from 0 with a sum of at most 1")
    wanted = dict.fromkeys([_task(name) for name in tasks] or TASKS, episodes)
    wanted |= {_task(name): number for name, number in (episodes_of or {}).items()}
    for name, number in wanted.items():
        if number < 1:
            raise ValueError(f"{number} for {name} makes no data; give a number from 1")
    turns = [
        (turn / number, order, task, source)
        for order, (task, number) in enumerate(wanted.items())
        for turn, source in enumerate(_sources(number, shares, (seed, order)))
    ]
    return tuple(
        Assignment(index, task, source)
        for index, (_, _, task, source) in enumerate(sorted(turns, key=lambda turn: turn[:2]))
    )


def _task(name: str) -> str:
    """The id of one of this project's tasks."""
    names = {short_name(task): task for task in TASKS}
    if names.get(name, name) not in TASKS:
        raise ValueError(f'there is no task "{name}"; choose from {", ".join(names)}')
    return names.get(name, name)


def _sources(number: int, shares: Mapping[str, float], seed: Sequence[int]) -> Sequence[str]:
    sources: list[str] = []
    for name, share in shares.items():
        sources += [name] * round(share * number)
    sources = ["expert"] * (number - len(sources)) + sources
    rng = np.random.default_rng(seed)
    return [sources[i] for i in rng.permutation(len(sources))][:number]  # shares round up
