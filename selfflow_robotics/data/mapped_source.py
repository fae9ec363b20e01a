"""Episodes read as a mapping says; statistics that it and the data set lack are measured."""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
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
_Spec = TypeVar("_Spec", ActionSpec, StateSpec)

ACTION_SPEC_FILE = "action_spec.json"
STATE_SPEC_FILE = "state_spec.json"

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

    def _read_specs(self, folder: Path) -> None:
        """What a folder says of actions and states, or the mapping where it says nothing."""
        mapping = self.mapping
        actions = _stored(folder / ACTION_SPEC_FILE, mapping.action_spec, mapping.name)
        if not actions.q01:
            actions = replace(actions, q01=mapping.action_spec.q01, q99=mapping.action_spec.q99)
        self.action_spec = actions if mapping.actions else None
        self.state_spec = mapping.state_spec
        if mapping.state_spec is not None:
            states = _stored(folder / STATE_SPEC_FILE, mapping.state_spec, mapping.name)
            self.state_spec = states if states.mean else mapping.state_spec

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
            ValueError: an episode is faulty, and the message names it; or there is none.
        """
        actions, states, mapping = self.action_spec, self.state_spec, self.mapping
        if (actions is None or actions.q01) and (states is None or states.mean):
            return self
        acted: list[NDArray[np.float32]] = []
        been: list[NDArray[np.float32]] = []
        bar = tqdm(range(len(self)), f"measure {self.name}", unit="episode", delay=2)
        for rows, places in map(self.numbers(), bar):
            acted += [] if rows is None else [rows]
            been += [] if places is None else [places]
        if not acted and not been:
            raise ValueError(
                f"{self.name} has no episode to measure the statistics of its actions on"
            )
        told: list[str] = []
        if actions is not None and not actions.q01:
            actions = actions.with_statistics(np.concatenate(acted))
            told.append("q01 and q99 of the actions")
        if states is not None and not states.mean and been:
            states = states.with_statistics(np.concatenate(been))
            told.append("mean and deviation of the states")
        steps = sum(map(len, acted or been))
        what = " and ".join(told)
        warnings.warn(f"{what} of {self.name} are measured on {steps} steps", Notice, 2)
        mapping = replace(mapping, action_spec=actions or mapping.action_spec, state_spec=states)
        return type(self)(self.path, mapping, self.split)


def _stored(path: Path, declared: _Spec, mapping: str) -> _Spec:
    """The specification of a file, or that of the mapping of this name where there is no file.

    Raises:
        ValueError: the file is damaged, or means something else than the mapping.
    """
    if not path.is_file():
        return declared
    try:
        stored = type(declared).from_json(read_json_file(path))
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(path) in text else f"{path}: {text}") from error
    stored.require_match(declared, ours=str(path), theirs=f'the mapping "{mapping}"')
    return stored


def read_json_file(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is damaged; the message names the file.
    """
    try:
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
        reason = f"it holds a {type(found).__name__}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise ValueError(f"{path} is damaged ({reason}); copy the data set again")
