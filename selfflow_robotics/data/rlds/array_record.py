"""Records of ArrayRecord files in random access, with errors that name the file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from array_record.python.array_record_data_source import ArrayRecordDataSource


class ArrayRecords:
    """The records of several ArrayRecord files, in order.

    Raises:
        ValueError: a file is truncated or is no ArrayRecord file.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._files = [_open(path) for path in paths]
        self._starts = list(accumulate((len(file) for file in self._files), initial=0))

    def __len__(self) -> int:
        """Number of records."""
        return self._starts[-1]

    def __getitem__(self, index: int) -> bytes:
        """The bytes of a record.

        Raises:
            IndexError: no such record.
            ValueError: the stored bytes disagree with their checksum.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number = bisect_right(self._starts, index) - 1
        try:
            return bytes(self._files[number][index - self._starts[number]])
        except RuntimeError as error:
            raise ValueError(
                f"record {index - self._starts[number]} of {self._paths[number]} is damaged "
                f"({error}); copy or download the file again"
            ) from error

    def file_of(self, index: int) -> Path:
        """The file that holds a record."""
        return self._paths[bisect_right(self._starts, index) - 1]


def _open(path: Path) -> ArrayRecordDataSource:
    try:
        file = ArrayRecordDataSource([str(path)])
        len(file)
    except RuntimeError as error:
        raise ValueError(
            f"{path} is truncated or no ArrayRecord file ({error}); copy or download it again"
        ) from error
    return file
