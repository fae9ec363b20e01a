"""What a LeRobot folder says it holds: `meta/` of versions 2.0, 2.1 and 3.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

INFO_FILE = "meta/info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
_PLACE = ("episode_index", "length", "data/chunk_index", "data/file_index")


@dataclass(frozen=True)
class VideoPart:
    """Where an episode's frames lie."""

    file: Path
    start: float  # s
    end: float | None  # s; None for the end of the file


class LeRobotMeta:
    """Features, tasks and places of the episodes of a folder.

    Raises:
        FileNotFoundError: no such folder, or a file of `meta/` lacks.
        ValueError: an unknown version, or a damaged file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        info_file = path / INFO_FILE
        if not info_file.is_file():
            raise FileNotFoundError(f"{path} is no LeRobot data set: it lacks {INFO_FILE}")
        self._info = _json(info_file.read_text(errors="replace"), str(info_file))
        self.version = str(self._entry("codebase_version"))
        if self.version not in VERSIONS:
            raise ValueError(
                f"{info_file} says codebase_version {self.version}; this reads "
                f"{', '.join(VERSIONS)}: convert the data set with LeRobot's own scripts"
            )
        try:
            self.rate_hz = float(self._entry("fps"))
            self.features: dict[str, Mapping[str, Any]] = dict(self._entry("features"))
            promised = int(self._entry("total_episodes"))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{info_file} is damaged ({error}); copy it again") from error
        self._episodes = _episodes(path, self.version)
        if len(self._episodes["episode_index"]) != promised:
            raise ValueError(
                f"meta/ of {path} lists {len(self._episodes['episode_index'])} episodes where "
                f"{INFO_FILE} promises {promised}; copy or download the data set again"
            )
        self.tasks = _tasks(path, self.version)

    @property
    def splits(self) -> Mapping[str, Any]:
        """Which episodes are of which split, as "0:100"."""
        found: Mapping[str, Any] = self._info.get("splits") or {}
        return found or {"train": f"0:{self._entry('total_episodes')}"}

    def split(self, name: str) -> range:
        """The numbers of a split's episodes.

        Raises:
            ValueError: no such split.
        """
        splits = self.splits
        if name not in splits:
            raise ValueError(f'{self.path} has no split "{name}"; it has {sorted(splits)}')
        first, _, last = str(splits[name]).partition(":")
        try:
            return range(int(first), int(last))
        except ValueError as error:
            raise ValueError(
                f'{self.path / INFO_FILE} says that split "{name}" is "{splits[name]}"; it must '
                'be like "0:100"'
            ) from error

    def length(self, episode: int) -> int:
        """Steps of an episode."""
        return int(self._episodes["length"][self._row(episode)])

    def rows_file(self, episode: int) -> Path:
        """The parquet file with an episode's steps."""
        return self.path / self._fill("data_path", self._numbers(episode, "data"))

    def video(self, episode: int, key: str) -> VideoPart:
        """Where the frames of one camera lie.

        Raises:
            ValueError: `meta/` does not say.
        """
        numbers = self._numbers(episode, f"videos/{key}")
        file = self.path / self._fill("video_path", {"video_key": key, **numbers})
        if self.version != "v3.0":
            return VideoPart(file, 0.0, None)
        start, end = (
            float(self._required(episode, f"videos/{key}/{edge}_timestamp"))
            for edge in ("from", "to")
        )
        return VideoPart(file, start, end)

    def value(self, episode: int, column: str) -> Any:
        """What `meta/` says of an episode under a name; None where it says nothing."""
        values = self._episodes.get(column)
        return None if values is None else values[self._row(episode)]

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {int(number): row for row, number in enumerate(self._episodes["episode_index"])}

    def _row(self, episode: int) -> int:
        if episode not in self._rows:
            raise ValueError(
                f"meta/ of {self.path} does not list episode {episode}; "
                "copy or download the data set again"
            )
        return self._rows[episode]

    def _required(self, episode: int, column: str) -> Any:
        found = self.value(episode, column)
        if found is None:
            raise ValueError(
                f"meta/episodes of {self.path} lacks {column} of episode {episode}; "
                "copy or download the data set again"
            )
        return found

    def _numbers(self, episode: int, prefix: str) -> dict[str, int]:
        """What the templates of `info.json` are filled with."""
        if self.version != "v3.0":
            chunk = episode // int(self._entry("chunks_size"))
            return {"episode_chunk": chunk, "episode_index": episode}
        return {
            f"{kind}_index": int(self._required(episode, f"{prefix}/{kind}_index"))
            for kind in ("chunk", "file")
        }

    def _fill(self, template: str, values: Mapping[str, Any]) -> str:
        text = str(self._entry(template))
        try:
            return text.format(**values)
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(
                f'{self.path / INFO_FILE} has {template} "{text}", which cannot be filled with '
                f"{dict(values)}"
            ) from error

    def _entry(self, key: str) -> Any:
        if self._info.get(key) is None:
            raise ValueError(f"{self.path / INFO_FILE} lacks {key}; copy or download it again")
        return self._info[key]


def read_parquet(file: Path, keep: Callable[[str], bool] = lambda name: True) -> pa.Table:
    """Those columns of a parquet file that are to be kept.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is damaged.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; copy or download the data set again")
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as found:
            return found.read([name for name in found.schema_arrow.names if keep(name)])
    except (pa.ArrowException, OSError) as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> ValueError:
    """What to say of a parquet file that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"{file} is damaged or truncated ({reason}); copy or download it again")


def _json(text: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
        reason = f"it holds a {type(found).__name__}"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{where} is damaged ({reason}); copy or download it again")


def _json_lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; copy or download the data set again")
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        if line.strip():
            yield _json(line, f"line {number} of {file}")


def _episodes(path: Path, version: str) -> dict[str, list[Any]]:
    """Columns of the episodes, those of statistics left out."""
    if version != "v3.0":
        file = path / "meta" / "episodes.jsonl"
        lines = list(_json_lines(file))
        keys = dict.fromkeys(key for line in lines for key in line)
        columns = {key: [line.get(key) for line in lines] for key in keys}
        where, needed = file, list(_PLACE[:2])
    else:
        folder = path / "meta" / "episodes"
        files = sorted(folder.glob("*/*.parquet"))
        if not files:
            raise FileNotFoundError(f"there is no parquet file in {folder}; copy it again")
        columns = {}
        for file in files:
            table = read_parquet(file, lambda name: not name.startswith("stats/"))
            for key in table.column_names:
                columns.setdefault(key, []).extend(table.column(key).to_pylist())
        where, needed = folder, list(_PLACE)
    lacking = [key for key in needed if None in columns.get(key, [None])]
    if lacking or len({len(values) for values in columns.values()}) > 1:
        raise ValueError(
            f"{where} lacks {', '.join(lacking) or 'a column'} of some episodes; "
            "copy or download it again"
        )
    return columns


def _tasks(path: Path, version: str) -> dict[int, str]:
    if version != "v3.0":
        file = path / "meta" / "tasks.jsonl"
        pairs = [(line.get("task_index"), line.get("task")) for line in _json_lines(file)]
    else:
        file = path / "meta" / "tasks.parquet"
        table = read_parquet(file)
        # The text is the index of a pandas table, whose name older releases left out.
        texts = [n for n in ("task", "__index_level_0__") if n in table.column_names]
        if not texts or "task_index" not in table.column_names:
            raise ValueError(f"{file} has the columns {table.column_names}, no task and task_index")
        pairs = [(row["task_index"], row[texts[0]]) for row in table.to_pylist()]
    found = {int(n): str(text) for n, text in pairs if n is not None and text is not None}
    if len(found) != len(pairs):
        raise ValueError(f"{file} lacks a task or its number; copy or download it again")
    return found
