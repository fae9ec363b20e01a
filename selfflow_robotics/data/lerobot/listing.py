"""The lists of `meta/`: episodes with their places, and tasks, of versions 2.0, 2.1 and 3.0."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

PLACE = ("episode_index", "length", "data/chunk_index", "data/file_index")
_READERS = 4  # files at a time: what a large one says of itself takes 300 MB while it is read

Columns = dict[str, list[Any]]


def read_episodes(path: Path, version: str, keep: Callable[[str], bool]) -> Columns:
    """Columns of the listed episodes, in the order of their numbers.

    Args:
        keep: which columns are read, besides those of the episodes' places.

    Raises:
        FileNotFoundError: a file is not there.
        ValueError: a file is damaged, or lacks a place or a length, or lists an episode twice.
    """
    where: Path
    needed: tuple[str, ...]
    if version != "v3.0":
        where, needed = path / "meta" / "episodes.jsonl", PLACE[:2]
        lines = list(_json_lines(where))
        keys = [key for key in set().union(*lines) if key in needed or keep(key)]
        columns: Columns = {key: [line.get(key) for line in lines] for key in keys}
    else:
        where, needed = path / "meta" / "episodes", PLACE
        columns = _parquet_columns(where, lambda name: name in PLACE or keep(name))
    for key in needed:
        if not all(type(value) is int and value >= 0 for value in columns.get(key, [None])):
            raise ValueError(f"{where} lacks {key} of some episodes; copy or download it again")
    if len({len(values) for values in columns.values()}) > 1:
        raise ValueError(f"{where} lacks a column of some episodes; copy or download it again")
    numbers: list[int] = columns["episode_index"]
    if len(set(numbers)) < len(numbers):
        twice = [number for number, times in Counter(numbers).items() if times > 1]
        raise ValueError(
            f"{where} lists episode {twice[0]} twice; leave one out, or copy or download it again"
        )
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    if order == list(range(len(numbers))):
        return columns
    return {key: [values[row] for row in order] for key, values in columns.items()}


def read_tasks(path: Path, version: str) -> dict[int, str]:
    """The text of each task, by its number.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged, lacks a text or a number, or gives a number two texts.
    """
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
    found: dict[int, str] = {}
    for number, text in pairs:
        if type(number) is not int or not isinstance(text, str):
            raise ValueError(
                f"{file} lacks a task or its number: it has task {text!r} with the number "
                f"{number!r}; copy or download it again"
            )
        if found.setdefault(number, text) != text:
            raise ValueError(
                f'{file} gives task {number} two texts, "{found[number]}" and "{text}"; take out '
                "the wrong one"
            )
    return found


def read_json(text: str, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: the text is no such thing; the message begins with `where`.
    """
    try:
        found = json.loads(text)
        if isinstance(found, dict):
            return found
        reason = f"it holds a {type(found).__name__}"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"{where} is damaged ({reason}); copy or download it again")


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
            names = found.schema_arrow.names
            kept = [index for index, name in enumerate(names) if keep(name)]
            # One by one, of thousands of row groups, they are read in half of the time of `read`.
            columns = [found.reader.read_column(index) for index in kept]
            return pa.table(columns, [names[index] for index in kept])
    except (pa.ArrowException, OSError, ValueError) as error:  # of text that is no UTF-8, the last
        raise damaged(file, error) from error


def damaged(file: Path, error: Exception) -> ValueError:
    """What to say of a parquet file that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return ValueError(f"{file} is damaged or truncated ({reason}); copy or download it again")


def _parquet_columns(folder: Path, keep: Callable[[str], bool]) -> Columns:
    """Columns of all files. Some writers begin a row group with every episode, so that describing
    them takes longer than reading them: files are read side by side, and only what is kept."""
    files = sorted(folder.glob("*/*.parquet"))
    if not files:
        raise FileNotFoundError(f"there is no parquet file in {folder}; copy it again")
    columns: Columns = {}
    with ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1)) as readers:
        for table in readers.map(partial(read_parquet, keep=keep), files):
            for key in table.column_names:
                columns.setdefault(key, []).extend(table.column(key).to_pylist())
    return columns


def _json_lines(file: Path) -> Iterator[Mapping[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}; copy or download the data set again")
    for number, line in enumerate(file.read_text(errors="replace").split("\n"), start=1):
        if line.strip():
            yield read_json(line, f"line {number} of {file}")
