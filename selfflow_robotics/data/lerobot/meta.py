"""What a LeRobot folder says it holds: `meta/` of versions 2.0, 2.1 and 3.0."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from selfflow_robotics.data.lerobot.listing import read_episodes, read_json, read_tasks
from selfflow_robotics.data.lerobot.splits import episodes_of
from selfflow_robotics.data.lerobot.templates import fill
from selfflow_robotics.storage.notice import Notice

INFO_FILE = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")

# What data sets exported from here say of their episodes; LeRobot's own tools drop it.
SUCCESS = "success"
SOURCE = "source"
DEMONSTRATED = "demonstrated"  # a feature, marks of steps


@dataclass(frozen=True)
class Feature:
    """What `info.json` declares of one key."""

    dtype: str  # as "float32", or "video" or "image"
    shape: tuple[int, ...]  # of one step

    @property
    def size(self) -> int:
        """How many numbers a step has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class VideoPlace:
    """Where `meta/` says an episode's frames lie."""

    file: Path
    start: float  # s
    end: float | None  # s; None for the end of the file


class LeRobotMeta:
    """Features and tasks of a folder, and places of its episodes in the videos of these cameras.

    Raises:
        FileNotFoundError: no such folder, or a file of `meta/` lacks.
        ValueError: an unknown version, or a damaged file.
    """

    def __init__(self, path: Path, cameras: tuple[str, ...] = ()) -> None:
        self.path = path
        self._info_file = path / INFO_FILE
        if not self._info_file.is_file():
            raise FileNotFoundError(f"{path} is no LeRobot data set: it lacks {INFO_FILE}")
        self._info = read_json(self._info_file.read_text(errors="replace"), str(self._info_file))
        self.version = str(self._entry("codebase_version"))
        if self.version not in VERSIONS:
            raise ValueError(
                f"{self._info_file} says codebase_version {self.version}; this reads "
                f"{', '.join(VERSIONS)}: convert the data set with LeRobot's own scripts"
            )
        self.rate_hz = self._rate()
        self._features = self._section("features")
        promised = self._whole("total_episodes")
        kept = (SUCCESS, SOURCE, *(f"videos/{key}/" for key in cameras))
        self._episodes = read_episodes(path, self.version, lambda name: name.startswith(kept))
        self.numbers: tuple[int, ...] = tuple(self._episodes["episode_index"])
        if len(self.numbers) != promised:
            raise ValueError(
                f"meta/ of {path} lists {len(self.numbers)} episodes where "
                f"{INFO_FILE} promises {promised}; copy or download the data set again"
            )
        self.tasks = read_tasks(path, self.version)
        self._sharing: dict[str, dict[tuple[int, ...], list[int]]] = {}  # by camera and file

    @cached_property
    def splits(self) -> Mapping[str, tuple[int, ...]]:
        """The numbers of each split's episodes; warns where it is not what `info.json` says.

        Raises:
            ValueError: several splits, which do not fit the episodes.
        """
        said = self._section("splits") if self._info.get("splits") else {}
        try:
            found, surprise = episodes_of(said or {"train": f"0:{len(self.numbers)}"}, self.numbers)
        except ValueError as error:
            raise ValueError(f"{self._info_file} {error}") from error
        if surprise is not None:
            warnings.warn(f"{self._info_file} {surprise}", Notice, stacklevel=2)
        return found

    def split(self, name: str) -> tuple[int, ...]:
        """The numbers of a split's episodes.

        Raises:
            ValueError: no such split.
        """
        if name not in self.splits:
            raise ValueError(f'{self.path} has no split "{name}"; it has {sorted(self.splits)}')
        return self.splits[name]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """All keys of a step."""
        return tuple(self._features)

    def feature(self, key: str) -> Feature:
        """What is declared of a key that is there.

        Raises:
            ValueError: it is no declaration.
        """
        said = self._features[key]
        match said:
            case {"dtype": str(dtype), "shape": list(shape)} if all(
                type(side) is int and side >= 0 for side in shape
            ):
                return Feature(dtype, tuple(shape))
        raise ValueError(
            f"{self._info_file} declares {key} as {str(said)[:100]}, which lacks a dtype or a "
            "shape of whole numbers; copy or download it again"
        )

    def length(self, episode: int) -> int:
        """Steps of an episode."""
        return int(self._episodes["length"][self._row(episode)])

    def rows_file(self, episode: int) -> Path:
        """The parquet file with an episode's steps, if `meta/` is right."""
        return self._filled("data_path", self._numbers(episode, "data"))

    def video(self, episode: int, key: str) -> VideoPlace:
        """Where the frames of one camera lie.

        Raises:
            ValueError: `meta/` does not say.
        """
        numbers = self._numbers(episode, f"videos/{key}")
        file = self._filled("video_path", {"video_key": key, **numbers})
        if self.version != "v3.0":
            return VideoPlace(file, 0.0, None)
        start, end = (
            float(self._number(episode, f"videos/{key}/{edge}_timestamp", float))
            for edge in ("from", "to")
        )
        return VideoPlace(file, start, end)

    def sharing(self, episode: int, key: str) -> list[int]:
        """The episodes whose frames lie in the same file as an episode's, itself among them."""
        if key not in self._sharing:
            self._sharing[key] = {}
            for number in self.numbers:
                self._sharing[key].setdefault(self._file_of(number, key), []).append(number)
        return self._sharing[key][self._file_of(episode, key)]

    def value(self, episode: int, column: str) -> Any:
        """What `meta/` says of an episode under a name; None where it says nothing."""
        values = self._episodes.get(column)
        return None if values is None else values[self._row(episode)]

    def _file_of(self, episode: int, key: str) -> tuple[int, ...]:
        return tuple(self._numbers(episode, f"videos/{key}").values())

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {number: row for row, number in enumerate(self.numbers)}

    def _row(self, episode: int) -> int:
        if episode not in self._rows:
            raise ValueError(
                f"meta/ of {self.path} does not list episode {episode}; "
                "copy or download the data set again"
            )
        return self._rows[episode]

    def _number(self, episode: int, column: str, kind: type[int] | type[float]) -> int | float:
        found: int | float | None = self.value(episode, column)
        if type(found) not in (int, kind) or found is None or not 0 <= found < math.inf:
            raise ValueError(
                f"meta/episodes of {self.path} lacks {column} of episode {episode}"
                + ("" if found is None else f": it says {str(found)[:40]!r}")
                + "; copy or download the data set again"
            )
        return found

    def _numbers(self, episode: int, prefix: str) -> dict[str, int]:
        """What the templates of `info.json` are filled with."""
        if self.version != "v3.0":
            chunk = episode // max(1, self._whole("chunks_size"))
            return {"episode_chunk": chunk, "episode_index": episode}
        return {
            f"{kind}_index": int(self._number(episode, f"{prefix}/{kind}_index", int))
            for kind in ("chunk", "file")
        }

    def _filled(self, entry: str, values: Mapping[str, int | str]) -> Path:
        template = self._entry(entry)
        if not isinstance(template, str):
            raise self._damaged(f"{entry} is no text but {str(template)[:40]}")
        try:
            return self.path / fill(template, values)
        except ValueError as error:
            raise ValueError(
                f'{self._info_file} has {entry} "{template[:200]}", which cannot be filled with '
                f"{dict(values)}: it {error}"
            ) from error

    def _rate(self) -> float:
        found = self._entry("fps")
        if type(found) not in (int, float) or not 0 < found <= 1e6:
            raise self._damaged(f"fps is {str(found)[:40]}")
        return float(found)

    def _whole(self, key: str) -> int:
        found = self._entry(key)
        if type(found) is not int or not 0 <= found < 2**63:
            raise self._damaged(f"{key} is {str(found)[:40]}")
        return found

    def _section(self, key: str) -> Mapping[str, Any]:
        found = self._entry(key)
        if not isinstance(found, dict):
            raise self._damaged(f"{key} is no object but {str(found)[:40]}")
        return found

    def _damaged(self, what: str) -> ValueError:
        return ValueError(f"{self._info_file} is damaged ({what}); copy it again")

    def _entry(self, key: str) -> Any:
        if self._info.get(key) is None:
            raise ValueError(f"{self._info_file} lacks {key}; copy or download it again")
        return self._info[key]
