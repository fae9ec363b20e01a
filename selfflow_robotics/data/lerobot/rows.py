"""The steps of a LeRobot episode: its rows of a parquet file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from selfflow_robotics.data.lerobot.meta import LeRobotMeta, damaged

_ALWAYS = ("episode_index", "frame_index", "timestamp", "task_index")


@dataclass(frozen=True)
class Rows:
    """S steps of one episode."""

    table: pa.Table
    tasks: Mapping[int, str]
    where: str  # what the episode is called in messages

    @property
    def times(self) -> NDArray[np.float64]:
        """(S,) seconds since the episode began."""
        return np.asarray(self._column("timestamp").to_numpy(zero_copy_only=False), np.float64)

    def numbers(self, keys: tuple[str, ...]) -> NDArray[np.float32]:
        """(S, entries of all keys) of features that hold numbers.

        Raises:
            ValueError: a number is missing or not finite, or rows differ in size.
        """
        return np.concatenate([self._matrix(key) for key in keys], axis=1)

    def flags(self, key: str) -> NDArray[np.bool_]:
        """(S,) of a feature that holds one truth value."""
        return np.asarray(self._column(key).to_numpy(zero_copy_only=False)).astype(np.bool_)

    def instructions(self) -> tuple[str, ...]:
        """S tasks; () where they are all empty.

        Raises:
            ValueError: `meta/` does not list a task.
        """
        numbers = self._column("task_index").to_pylist()
        unknown = sorted(set(numbers) - set(self.tasks))
        if unknown:
            raise ValueError(
                f"{self.where} has task {unknown[0]}, which meta/ does not list; "
                "copy or download the data set again"
            )
        texts = tuple(self.tasks[number] for number in numbers)
        return texts if any(texts) else ()

    def images(self, key: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(S, height, width, 3) of a feature that holds image files.

        Raises:
            ValueError: an image is corrupt or of another size.
        """
        images: list[NDArray[np.uint8]] = []
        for step, cell in enumerate(self._column(key).to_pylist()):
            try:
                with Image.open(io.BytesIO(cell["bytes"]), formats=("JPEG", "PNG")) as image:
                    images.append(np.asarray(image.convert("RGB")))
            except (OSError, SyntaxError, ValueError, TypeError) as error:
                raise ValueError(
                    f"{self.where} has a corrupt {key} at step {step}; "
                    "leave the episode out or write it again"
                ) from error
            if images[-1].shape[:2] != size:
                raise ValueError(
                    f"{self.where} has a {key} of {images[-1].shape[:2]} pixels at step {step} "
                    f"where meta/info.json declares {size}; write the data set again"
                )
        return np.stack(images)

    def _column(self, key: str) -> pa.Array:
        column = self.table.column(key).combine_chunks()
        if column.null_count:
            raise ValueError(
                f"{self.where} lacks {key} at some step; leave the episode out or write it again"
            )
        return column

    def _matrix(self, key: str) -> NDArray[np.float32]:
        column, count = self._column(key), self.table.num_rows
        while pa.types.is_nested(column.type):
            if pc.count_distinct(pc.list_value_length(column)).as_py() > 1:
                raise ValueError(
                    f"{self.where} has {key} of different sizes; leave the episode out or write "
                    "it again"
                )
            column = pc.list_flatten(column)
        values = np.asarray(column.to_numpy(zero_copy_only=False), np.float32).reshape(count, -1)
        bad = ~np.isfinite(values).all(axis=1)
        if bad.any():
            step = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{self.where} has {key} = {values[step].tolist()} at step {step}; "
                "leave the episode out or write it again with finite numbers"
            )
        return values


class LeRobotRows:
    """Rows of any episode; keeps what was read last, as neighbours often share it.

    Args:
        meta: where the rows lie.
        columns: features to read, besides those of time and task.
    """

    def __init__(self, meta: LeRobotMeta, columns: tuple[str, ...]) -> None:
        self._meta = meta
        self._columns = [*_ALWAYS, *columns]
        self._last: tuple[tuple[Path, tuple[int, ...]], pa.Table] | None = None

    def read(self, episode: int, where: str) -> Rows:
        """The rows of an episode, in the order of time.

        Args:
            episode: its number in the data set.
            where: what it is called in messages.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is damaged, lacks a feature, or has other rows than promised.
        """
        file = self._meta.rows_file(episode)
        if not file.is_file():
            raise FileNotFoundError(
                f"{where}: there is no {file}; copy or download the data set again"
            )
        try:
            table = self._groups_of(file, episode)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where}: {damaged(file, error)}") from error
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        table = table.filter(pc.equal(table.column("episode_index"), episode))
        promised = self._meta.length(episode)
        if table.num_rows == 0:
            raise ValueError(f"{where} has no steps in {file}; leave it out of the data set")
        if table.column("frame_index").to_pylist() != list(range(promised)):
            raise ValueError(
                f"{where} has {table.num_rows} rows in {file} where meta/ promises {promised}, "
                "numbered from 0; copy or download the data set again"
            )
        return Rows(table, self._meta.tasks, f"{where} ({file.relative_to(self._meta.path)})")

    def _groups_of(self, file: Path, episode: int) -> pa.Table:
        """The row groups of a file that hold an episode."""
        with pq.ParquetFile(file, page_checksum_verification=True) as found:
            lacking = sorted(set(self._columns) - set(found.schema_arrow.names))
            if lacking:
                raise ValueError(
                    f"{file} lacks {', '.join(lacking)}, which meta/info.json promises; "
                    "copy or download it again"
                )
            groups = tuple(
                i
                for i in range(found.num_row_groups)
                if _may_hold(found.metadata.row_group(i), episode)
            )
            key = (file, groups)
            if self._last is None or self._last[0] != key:
                self._last = (key, found.read_row_groups(list(groups), self._columns))
            return self._last[1]


def _may_hold(group: Any, episode: int) -> bool:
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == "episode_index" and column.statistics is not None:
            found = column.statistics
            return not found.has_min_max or bool(found.min <= episode <= found.max)
    return True
