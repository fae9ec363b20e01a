"""The steps of a LeRobot episode: its rows of a parquet file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from selfflow_robotics.data.lerobot.columns import matrix, scalars
from selfflow_robotics.data.lerobot.listing import damaged
from selfflow_robotics.data.lerobot.meta import LeRobotMeta
from selfflow_robotics.data.lerobot.row_files import found_rows

_ALWAYS = ("episode_index", "frame_index", "timestamp", "task_index")
_COLOURS = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")  # 8 bits a channel


@dataclass(frozen=True)
class Rows:
    """S steps of one episode."""

    table: pa.Table
    meta: LeRobotMeta
    where: str  # what the episode is called in messages

    @property
    def times(self) -> NDArray[np.float64]:
        """(S,) seconds since the episode began.

        Raises:
            ValueError: one is not finite.
        """
        return self._scalars("timestamp").astype(np.float64)

    def numbers(
        self, keys: tuple[str, ...], entries: tuple[int, ...] = ()
    ) -> NDArray[np.float32] | None:
        """These entries, () for all, of all keys side by side, (S, entries); None without a key.

        Raises:
            ValueError: a number is missing or not finite, or rows are not as large as declared.
        """
        if not keys:
            return None
        parts = [
            matrix(self.table.column(key), key, self.where, self.meta.feature(key).size)
            for key in keys
        ]
        values = np.concatenate(parts, axis=1)
        return values[:, list(entries)] if entries else values

    def flags(self, key: str) -> NDArray[np.bool_]:
        """(S,) of a feature that holds one truth value."""
        return self._scalars(key).astype(np.bool_)

    def instructions(self) -> tuple[str, ...]:
        """S tasks; () where they are all empty.

        Raises:
            ValueError: `meta/` does not list a task.
        """
        numbers = self._scalars("task_index").tolist()
        unknown = sorted(set(numbers) - set(self.meta.tasks))
        if unknown:
            raise ValueError(
                f"{self.where} has task {unknown[0]}, which meta/ does not list; "
                "copy or download the data set again"
            )
        texts = tuple(self.meta.tasks[number] for number in numbers)
        return texts if any(texts) else ()

    def images(self, key: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(S, height, width, 3) of a feature that holds image files.

        Raises:
            ValueError: an image lacks, or is corrupt or of another size.
        """
        images: list[NDArray[np.uint8]] = []
        for step, cell in enumerate(self.table.column(key).to_pylist()):
            try:
                images.append(_image(cell, size))
            except (ValueError, TypeError) as error:
                raise ValueError(
                    f"{self.where} has a {key} that cannot be read at step {step}: {error}"
                ) from error
        return np.stack(images)

    def _scalars(self, key: str) -> NDArray[Any]:
        array = scalars(self.table.column(key), key, self.where)
        found = np.asarray(array.to_numpy(zero_copy_only=False))
        finite = np.isfinite(found)
        if not finite.all():
            step = int(np.flatnonzero(~finite)[0])
            raise ValueError(
                f"{self.where} has {key} = {found[step]} at step {step}; leave the episode out "
                "or write it again"
            )
        return found


def _image(cell: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(height, width, 3); the message of an error is the end of a sentence."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if content is None or isinstance(content, str):
        path = content or (cell.get("path") if isinstance(cell, dict) else None)
        raise ValueError(
            "there is no image"
            if path is None
            else f'there is only the path of one, "{str(path)[:200]}", and files beside the rows '
            "are not read; write the data set with its images in it, or as video"
        )
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            if image.size[::-1] != size:
                raise ValueError(
                    f"it is of {image.size[::-1]} pixels where meta/info.json declares {size}; "
                    "write the data set again"
                )
            if image.mode not in _COLOURS:
                raise ValueError(
                    f'it has pixels of the kind "{image.mode}", no 8 bits a colour; '
                    "write the data set again"
                )
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("it is corrupt; leave the episode out or write it again") from error


class LeRobotRows:
    """Rows of any episode, with these columns besides those of time and task.

    What was read last is kept, as neighbours often share it.
    """

    def __init__(self, meta: LeRobotMeta, columns: tuple[str, ...]) -> None:
        self._meta = meta
        self._columns = list(dict.fromkeys((*_ALWAYS, *columns)))
        self._last: tuple[tuple[Path, tuple[int, ...]], pa.Table] | None = None

    @cached_property
    def _found(self) -> tuple[dict[int, tuple[Path, ...]], tuple[str, ...]]:
        return found_rows(self._meta.path)

    def read(self, episode: int, where: str) -> Rows:
        """The rows of an episode, in the order of their frames.

        They are looked for in all files where the one that `meta/` names has none.

        Raises:
            FileNotFoundError: the file is not there.
            ValueError: the file is damaged, lacks a feature, or has other rows than promised.
        """
        file = self._meta.rows_file(episode)
        table = self._rows_in(file, episode, where) if file.is_file() else None
        if (table is None or table.num_rows == 0) and self._meta.version == "v3.0":
            others = [other for other in self._found[0].get(episode, ()) if other != file]
            if len(others) > 1:
                raise ValueError(
                    f"{where} has no rows in {file}, which meta/ names, but in {len(others)} other "
                    f"files, {others[0]} and {others[1]}; keep those that are right"
                )
            if others:
                file = others[0]
                table = self._rows_in(file, episode, where)
        if table is None:
            raise FileNotFoundError(
                f"{where}: there is no {file}; copy or download the data set again"
            )
        if table.num_rows == 0:
            faults = "; ".join(self._found[1]) if self._meta.version == "v3.0" else ""
            raise ValueError(
                f"{where} has no steps in {file}"
                + (f", and other files could not be looked through: {faults}" if faults else "")
                + "; leave it out of the data set"
            )
        inside = f"{where} ({file.relative_to(self._meta.path)})"
        return Rows(_in_order(table, self._meta.length(episode), inside), self._meta, inside)

    def _rows_in(self, file: Path, episode: int, where: str) -> pa.Table:
        try:
            table = self._groups_of(file, episode)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{where}: {damaged(file, error)}") from error
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        numbers = scalars(table.column("episode_index"), "episode_index", f"{where} ({file.name})")
        return table.filter(pc.equal(numbers, episode))

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


def _in_order(table: pa.Table, promised: int, where: str) -> pa.Table:
    """The rows by their frame's number; some writers store them in another order."""
    numbers = scalars(table.column("frame_index"), "frame_index", where)
    order = pc.sort_indices(numbers)
    found = numbers.take(order).to_pylist()
    if len(found) != promised:
        raise ValueError(
            f"{where} has {len(found)} rows where meta/ promises {promised}; "
            "copy or download the data set again"
        )
    odd = next((i for i, number in enumerate(found) if number != i), None)
    if odd is not None:
        raise ValueError(
            f"{where} has {promised} rows, but none with the frame_index {odd} of those from 0 on; "
            "leave the episode out or write it again"
        )
    return table.take(order)


def _may_hold(group: Any, episode: int) -> bool:
    for i in range(group.num_columns):
        column = group.column(i)
        if column.path_in_schema == "episode_index" and column.statistics is not None:
            found = column.statistics
            known = found.has_min_max and type(found.min) is int and type(found.max) is int
            return not known or bool(found.min <= episode <= found.max)
    return True
