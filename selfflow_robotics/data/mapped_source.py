"""Episodes read as a mapping says; statistics that it and the data set lack are measured."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.lerobot.mappings import LeRobotMapping
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.storage.notice import Notice

_Mapping = TypeVar("_Mapping", RldsMapping, LeRobotMapping)
_Source = TypeVar("_Source", bound="MappedSource[Any]")
Numbers = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]
"""Actions (S, A) and states (S, P) of an episode, where it has them."""


class MappedSource(ABC, Generic[_Mapping]):
    """Episodes of one split of a data set, read as a mapping says.

    It can be sent to another process, where it opens its files anew.
    """

    action_spec: ActionSpec | None
    state_spec: StateSpec | None

    def __init__(self, path: Path, mapping: _Mapping, split: str) -> None:
        self.path, self.split = path, split
        self.mapping: _Mapping = mapping

    @property
    def name(self) -> str:
        """The folder and the split."""
        return f"{self.path}:{self.split}"

    def __reduce__(self) -> tuple[Any, ...]:
        """Files are opened anew where the source is unpickled."""
        return type(self), (self.path, self.mapping, self.split)

    @abstractmethod
    def __len__(self) -> int:
        """Number of episodes of the split."""

    @abstractmethod
    def numbers(self) -> Callable[[int], Numbers]:
        """What reads the actions and states of an episode, and nothing else of it."""

    def measured(self: _Source) -> _Source:
        """The same episodes; what lacks of the statistics of actions and states is measured.

        Raises:
            FileNotFoundError: a file of rows is not there.
            ValueError: an episode is faulty; the message names it.
        """
        actions, states, mapping = self.action_spec, self.state_spec, self.mapping
        if (actions is None or actions.q01) and (states is None or states.mean):
            return self
        bar = tqdm(range(len(self)), f"measure {self.name}", unit="episode", delay=2)
        actions, states = _measured(actions, states, map(self.numbers(), bar), self.name)
        mapping = replace(mapping, action_spec=actions or mapping.action_spec, state_spec=states)
        return type(self)(self.path, mapping, self.split)


def _measured(
    actions: ActionSpec | None, states: StateSpec | None, episodes: Iterable[Numbers], where: str
) -> tuple[ActionSpec | None, StateSpec | None]:
    """Specifications whose statistics are there: those that lack are measured, with a notice.

    Args:
        actions: meaning of the actions; None where there are none.
        states: meaning of the states; None likewise.
        episodes: the numbers of every episode.
        where: what the data set is called in messages.

    Raises:
        ValueError: there is no episode.
    """
    acted: list[NDArray[np.float32]] = []
    been: list[NDArray[np.float32]] = []
    for rows, places in episodes:
        acted += [] if rows is None else [rows]
        been += [] if places is None else [places]
    if not acted and not been:
        raise ValueError(f"{where} has no episode to measure the statistics of its actions on")
    told: list[str] = []
    if actions is not None and not actions.q01:
        actions = actions.with_statistics(np.concatenate(acted))
        told.append("q01 and q99 of the actions")
    if states is not None and not states.mean and been:
        states = states.with_statistics(np.concatenate(been))
        told.append("mean and deviation of the states")
    steps = sum(map(len, acted or been))
    warnings.warn(f"{' and '.join(told)} of {where} are measured on {steps} steps", Notice, 2)
    return actions, states
