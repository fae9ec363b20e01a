"""What can be chosen about data. Imports nothing heavy: help is quick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..storage.keys import key
from ..storage.typed_yaml import ConfigError

if TYPE_CHECKING:
    from .episode import Dataset

PathT = TypeVar("PathT", bound=str | Path)


@dataclass(frozen=True)
class DataConfig:
    """Which episodes."""

    path: list[Path] = key(
        "folder of an RLDS or LeRobot data set, or [A,B]; data=FOLDER for short",
        list,
        main=True,
        was=("source",),
    )
    mapping: str = key(
        "where it keeps images, actions, ...: a name, a YAML, or module:Class",
        "rt1",
        was=("mapping",),
    )
    split: str = key("of the data set", "train", was=("split",))

    def open_all(self) -> list[Dataset]:
        """Every data set that was given; none where none was."""
        from .formats import open_dataset

        return [open_dataset(path, self.mapping, self.split) for path in self.path]

    def open_one(self) -> Dataset:
        """The one data set that was given; a ConfigError where none was, or several."""
        _only(self.path)
        return self.open_all()[0]

    def open_given(self) -> Dataset | None:
        """The one data set, where one was given."""
        return self.open_one() if self.path else None


@dataclass(frozen=True)
class WholeDataConfig:
    """A data set with all its splits."""

    path: list[str | Path] = key(
        "folder, or a URL where it is read once; data=FOLDER for short",
        list,
        main=True,
        was=("source", "path"),
    )
    mapping: str | None = key(
        "what actions and states are: a name or a YAML; null: what fits, or rt1",
        None,
        was=("mapping",),
    )

    @property
    def folder(self) -> str | Path:
        """The one path that was given; a ConfigError where none was, or several."""
        return _only(self.path)


def _only(paths: Sequence[PathT]) -> PathT:
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
