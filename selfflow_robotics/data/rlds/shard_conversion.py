"""One TFRecord shard as one ArrayRecord shard, verified."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from numpy.typing import NDArray

from selfflow_robotics.data.rlds.array_record import ArrayRecords
from selfflow_robotics.data.rlds.episode_check import EpisodeCheck
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.data.rlds.metadata import read_features
from selfflow_robotics.data.rlds.record import RecordParser, columns
from selfflow_robotics.data.rlds.tfrecord import read_in_order
from selfflow_robotics.storage.remote_folder import RemoteFolder
from selfflow_robotics.storage.whole_file import whole_file

WORK_FOLDER = ".unfinished"


class OutputError(OSError):
    """The output cannot be written; the message says why and what to do."""


@contextmanager
def require_written(path: Path) -> Iterator[None]:
    """Turn what fails while writing below path into one sentence.

    Raises:
        OutputError: something could not be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, OutputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{path} cannot be written ({reason}); free space on its disk and run the same command "
            "again: what is finished is kept"
        ) from error


@dataclass(frozen=True)
class Shard:
    """A file to convert."""

    split: str
    source: str  # URL of the folder
    name: str  # of the TFRecord file
    out: Path
    target: str  # name of the ArrayRecord file

    @property
    def work(self) -> Path:
        """The folder of what is unfinished."""
        return self.out / WORK_FOLDER

    @property
    def content_file(self) -> Path:
        """Where what the statistics need of the shard is kept."""
        return self.work / f"{self.target}.npz"

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return (self.out / self.target).is_file() and self.content_file.is_file()


@dataclass(frozen=True)
class ShardContent:
    """What the end of a conversion needs to know of a shard."""

    lengths: NDArray[np.int64]  # steps of every episode
    num_bytes: int
    actions: NDArray[np.float32]  # (S, A) of all its episodes; (S, 0) without a mapping
    states: NDArray[np.float32]  # (S, P), or (S, 0)
    left_out: NDArray[np.str_]  # a sentence for every faulty episode that was

    @classmethod
    def load(cls, path: Path) -> ShardContent:
        """Read what was saved."""
        with np.load(path) as found:
            return cls(**{**found, "num_bytes": int(found["num_bytes"])})

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, **vars(self))


def convert_shard(shard: Shard, mapping: RldsMapping | None, leave_out: bool = False) -> int:
    """Copy the records of a shard, check every episode, and verify what was written.

    Args:
        mapping: what to keep for the statistics.
        leave_out: go on without an episode that is faulty, instead of raising.

    Returns:
        How many episodes were left out.

    Raises:
        ValueError: the source is faulty; the message names file and episode.
        OutputError: the target cannot be written.
    """
    with whole_file(shard.out / shard.target, within=shard.work) as partial:
        copied, content = _copy(shard, partial, mapping, leave_out)
        with require_written(shard.out / shard.target):
            _require_equal(partial, copied)
            content.save(shard.content_file)
    return len(content.left_out)


def _copy(
    shard: Shard, partial: Path, mapping: RldsMapping | None, leave_out: bool
) -> tuple[list[int], ShardContent]:
    """Write the records; returns their checksums and what is to be kept of them."""
    features = read_features(shard.work)
    states = [] if mapping is None else [f"steps/{key}" for key in mapping.states]
    check = EpisodeCheck(features, finite=states)
    reader = None
    if mapping is not None:
        reader = RecordParser(features, [f"steps/{key}" for key in mapping.actions] + states)
    checksums: list[int] = []
    lengths: list[int] = []
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    left_out: list[str] = []
    size = 0
    folder = RemoteFolder(shard.source)
    url = f"{shard.source}/{shard.name}"
    with require_written(shard.out / shard.target):
        writer = ArrayRecordWriter(str(partial), "group_size:1")
    try:
        with folder.open(shard.name) as file:
            for number, record in enumerate(read_in_order(file, url)):
                where = f"episode {number} of {url}"
                try:
                    steps = check(record, where)
                    if reader is not None and mapping is not None:
                        rows.append(_rows(reader, mapping, record, where, steps))
                except ValueError as error:
                    if not leave_out:
                        raise
                    left_out.append(str(error))
                    continue
                with require_written(shard.out / shard.target):
                    writer.write(record)
                checksums.append(google_crc32c.value(record))
                lengths.append(steps)
                size += len(record)
    except BaseException:
        with suppress(RuntimeError):  # the error that brought us here is the one to tell
            writer.close()
        raise
    with require_written(shard.out / shard.target):
        writer.close()
    total = sum(lengths)
    parts = rows or [(np.zeros((total, 0), np.float32),) * 2]
    actions, kept_states = (np.concatenate(part) for part in zip(*parts, strict=True))
    return checksums, ShardContent(
        np.asarray(lengths, np.int64), size, actions, kept_states, np.array(left_out, np.str_)
    )


def _rows(
    reader: RecordParser, mapping: RldsMapping, record: bytes, where: str, steps: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found = reader(record, where)
    actions = columns(found, mapping.actions, where)
    if not mapping.states:
        return actions, np.zeros((steps, 0), np.float32)
    return actions, columns(found, mapping.states, where)


def _require_equal(path: Path, checksums: list[int]) -> None:
    """Read everything back."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    try:
        written = ArrayRecords([path])
        same = [google_crc32c.value(written[i]) for i in range(len(written))] == checksums
    except ValueError as error:
        raise OSError(str(error)) from error
    if not same:
        raise OSError("what was read back differs from what was written")
