"""A robot's data set, of whichever format its folder is."""

from __future__ import annotations

from pathlib import Path

from selfflow_robotics.data.lerobot.mappings import LeRobotMapping
from selfflow_robotics.data.lerobot.meta import INFO_FILE
from selfflow_robotics.data.lerobot.source import LeRobotSource, open_lerobot
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.data.rlds.source import RldsSource, open_rlds

Dataset = RldsSource | LeRobotSource


def open_dataset(
    path: str | Path, mapping: str | RldsMapping | LeRobotMapping = "rt1", split: str = "train"
) -> Dataset:
    """Open a data set for random access to its episodes.

    Args:
        path: folder of an RLDS data set as TFDS wrote it, or of a LeRobot data set.
        mapping: where the data set keeps what is read: the name of a declared mapping, or one.
        split: a split of the data set, as "train".

    Raises:
        FileNotFoundError: no such folder, or it lacks a file.
        ValueError: what :func:`open_rlds` or :func:`open_lerobot` refuses, or a mapping of the
            other format.
    """
    if (Path(path) / INFO_FILE).is_file():
        return open_lerobot(path, mapping, split)
    if isinstance(mapping, LeRobotMapping):
        raise ValueError(
            f"{path} is no LeRobot data set (it lacks {INFO_FILE}), but the mapping "
            f'"{mapping.name}" is of one; declare an RldsMapping'
        )
    return open_rlds(path, mapping, split)
