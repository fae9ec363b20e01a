"""Which episodes a command reads: the section `data`, and videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from selfflow_robotics.storage.typed_yaml import ConfigError

from ..storage.keys import key

if TYPE_CHECKING:
    from selfflow_robotics.data.episode import Dataset, EpisodeSource

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


def open_all(data: DataConfig) -> list[Dataset]:
    """Every data set that was given; none where none was."""
    from selfflow_robotics.data.formats import open_dataset

    return [open_dataset(path, data.mapping, data.split) for path in data.path]


def open_one(data: DataConfig) -> Dataset:
    """The one data set that was given."""
    one_data_set(data.path)
    return open_all(data)[0]


def open_video(
    videos: str | None,
    physics_episodes: int,
    image_size: tuple[int, int],
    seed: int,
    **clips: Any,
) -> list[EpisodeSource]:
    """The video files and the generated scenes that were asked for.

    Args:
        clips: how files are cut, see :class:`VideoClips`.
    """
    from selfflow_robotics.data.video.source import VideoClips
    from selfflow_robotics.envs.physics_video import PhysicsVideo

    sources: list[EpisodeSource] = []
    if videos is not None:
        sources.append(VideoClips(videos, image_size, **clips))
    if physics_episodes:
        sources.append(PhysicsVideo(physics_episodes, 24, image_size, seed=seed))
    return sources
