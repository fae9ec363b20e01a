"""The section `data` of the commands: which episodes, and what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from selfflow_robotics.storage.typed_yaml import ConfigError

PathT = TypeVar("PathT", bound=str | Path)


@dataclass(frozen=True)
class DataConfig:
    """Which episodes."""

    path: list[Path] = field(
        default_factory=list,
        metadata={
            "help": "folder of an RLDS or LeRobot data set, or [A,B]; data=FOLDER for short",
            "main": True,
            "was": ("source",),
        },
    )
    mapping: str = field(
        default="rt1",
        metadata={
            "help": "where it keeps images, actions, ...: a name or a YAML",
            "was": ("mapping",),
        },
    )
    split: str = field(default="train", metadata={"help": "of the data set", "was": ("split",)})


@dataclass(frozen=True)
class WholeDataConfig:
    """A data set with all its splits."""

    path: list[str | Path] = field(
        default_factory=list,
        metadata={
            "help": "folder, or a URL where it is read once; data=FOLDER for short",
            "main": True,
            "was": ("source", "path"),
        },
    )
    mapping: str | None = field(
        default=None,
        metadata={
            "help": "what actions and states are: a name or a YAML; null: what fits, or rt1",
            "was": ("mapping",),
        },
    )


def one_data_set(paths: Sequence[PathT]) -> PathT:
    """The one path that was given.

    Raises:
        ConfigError: none was, or several.
    """
    if not paths:
        raise ConfigError(
            'there are no episodes: add data=FOLDER ("selfflow collect" makes a data set)'
        )
    if len(paths) > 1:
        given = ", ".join(map(str, paths))
        raise ConfigError(
            f"this command reads one data set at a time, and data.path names {len(paths)}: {given}"
        )
    return paths[0]
