"""The formats of data sets: how each is known, opened, checked and written. An entry a format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfflow_robotics.data.checked import Checked, check_episodes
from selfflow_robotics.data.episode import Dataset
from selfflow_robotics.data.latents.cache_check import check_cache, is_cache
from selfflow_robotics.data.lerobot.dataset_check import check_lerobot
from selfflow_robotics.data.lerobot.export import export_lerobot
from selfflow_robotics.data.lerobot.mappings import LeRobotMapping
from selfflow_robotics.data.lerobot.meta import INFO_FILE
from selfflow_robotics.data.lerobot.source import open_lerobot
from selfflow_robotics.data.mapping_file import is_mapping_file
from selfflow_robotics.data.rlds.dataset_check import check_dataset, told_of
from selfflow_robotics.data.rlds.mappings import RldsMapping, mapping_named
from selfflow_robotics.data.rlds.source import open_rlds
from selfflow_robotics.registry import named


@dataclass(frozen=True)
class Format:
    """What can be done with a folder of a kind. None: it cannot."""

    is_at: Callable[[Path], bool]
    check: Callable[[Path, str | None, int | None], list[Checked]]  # folder, mapping, workers
    open: Callable[[Path, Any, str], Dataset] | None = None  # folder, mapping, split
    export: Callable[[Any, Path], int] | None = None  # source, new folder; returns steps
    told_of: Callable[[Path], Iterable[str]] = lambda path: ()  # what else is to be known
    steps: str = "steps"  # what is counted in an episode


def _check_rlds(path: Path, mapping: str | None, workers: int | None) -> list[Checked]:
    return check_dataset(path, None if mapping is None else mapping_named(mapping), workers)


def _open_rlds(path: Path, mapping: str | RldsMapping | LeRobotMapping, split: str) -> Dataset:
    if isinstance(mapping, LeRobotMapping):
        raise ValueError(
            f"{path} is no LeRobot data set (it lacks {INFO_FILE}), but the mapping "
            f'"{mapping.name}" is of one; declare an RldsMapping'
        )
    return open_rlds(path, mapping, split)


FORMATS: Mapping[str, Format] = {
    "latents": Format(is_cache, lambda path, *_: check_cache(path), steps="frames"),
    "lerobot": Format(
        is_at=lambda path: (path / INFO_FILE).is_file(),
        check=lambda path, mapping, _: check_lerobot(path, mapping or "rt1"),
        open=open_lerobot,
        export=export_lerobot,
    ),
    # The last one is what a folder that is none of the others is taken for.
    "rlds": Format(lambda path: True, _check_rlds, _open_rlds, told_of=told_of),
}


def format_of(path: Path, mapping: str | RldsMapping | LeRobotMapping | None = None) -> Format:
    """The format of a folder, or that of a mapping which is a class of the user's, module:Class."""
    if isinstance(mapping, str) and ":" in mapping and not is_mapping_file(mapping):
        own = named(mapping, {}, "data.mapping")
        return Format(
            is_at=lambda path: True,
            check=lambda path, *_: [check_episodes(own(path, mapping, "train"))],
            open=own,
        )
    return next(one for one in FORMATS.values() if one.is_at(path))


def open_dataset(
    path: str | Path, mapping: str | RldsMapping | LeRobotMapping = "rt1", split: str = "train"
) -> Dataset:
    """Open a data set for random access to its episodes.

    Args:
        path: folder of an RLDS data set as TFDS wrote it, or of a LeRobot data set.
        mapping: where the data set keeps what is read: the name of a declared mapping, or one; or
            a class of one's own that reads it, "module:Class", called with these three.
        split: a split of the data set, as "train".

    Raises:
        FileNotFoundError: no such folder, or it lacks a file.
        ValueError: what :func:`open_rlds` or :func:`open_lerobot` refuses, or a mapping of the
            other format.
    """
    return (format_of(Path(path), mapping).open or _open_rlds)(Path(path), mapping, split)
