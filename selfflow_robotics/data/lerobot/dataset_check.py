"""Is a LeRobot data set sound? Every episode is read as training reads it, its video decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from selfflow_robotics.data.checked import Checked, check_episodes
from selfflow_robotics.data.lerobot.mappings import LeRobotMapping
from selfflow_robotics.data.lerobot.meta import LeRobotMeta
from selfflow_robotics.data.lerobot.row_files import found_rows
from selfflow_robotics.data.lerobot.source import LeRobotSource, mapping_for
from selfflow_robotics.data.rlds.mappings import RldsMapping

_NAMED = 10


def check_lerobot(path: Path, mapping: str | RldsMapping | LeRobotMapping = "rt1") -> list[Checked]:
    """Check all splits of a data set.

    Returns:
        A split each; bytes are those of images, actions and states as they are read. Faults name
        episode and key or file; those of the whole folder are with the first split.

    Raises:
        FileNotFoundError: a file of `meta/` is not there.
        ValueError: a file of `meta/` is damaged, or the mapping does not fit.
    """
    meta = LeRobotMeta(path)
    known = mapping_for(path, mapping)
    first, *others = [check_episodes(LeRobotSource(path, known, split)) for split in meta.splits]
    return [replace(first, faults=(*first.faults, *_of_folder(meta))), *others]


def _of_folder(meta: LeRobotMeta) -> Iterator[str]:
    """What is there and no episode reads."""
    found, unreadable = found_rows(meta.path)
    left_out = sorted(found.keys() - set(meta.numbers))
    if left_out:
        named = ", ".join(map(str, left_out[:_NAMED]))
        more = f" and {len(left_out) - _NAMED} more" if len(left_out) > _NAMED else ""
        yield (
            f"data/ of {meta.path} holds rows of "
            f"{len(left_out)} episode{'s' if len(left_out) > 1 else ''} that meta/ does not list: "
            f"{named}{more}; they are not read: list them, or remove their rows"
        )
    yield from unreadable
