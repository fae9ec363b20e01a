"""Rows of a file, each block of which is checked when it is first read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 2**18  # some frames, so that a clip that is read first costs few others


def checksums_of(rows: NDArray[Any]) -> NDArray[np.uint32]:
    """(blocks,) CRC-32C of every block of rows."""
    size = _block_rows(rows)
    blocks = (rows[first : first + size] for first in range(0, len(rows), size))
    return np.array([google_crc32c.value(block.tobytes()) for block in blocks], np.uint32)


class CheckedRows:
    """An array (s, ...), usually memory-mapped, that gives no rows that changed since.

    A block is checked once by a process, at some GB/s: a file larger than memory is opened at once.
    Checksums are what :func:`checksums_of` said of it when it was whole.

    Raises:
        ValueError: it has another number of blocks.
    """

    def __init__(self, rows: NDArray[Any], checksums: NDArray[np.uint32], path: Path) -> None:
        self._rows, self._checksums, self._path = np.asarray(rows), checksums, path
        self._size = _block_rows(rows)
        self._sound = bytearray(len(checksums))  # 1 for a block that was checked
        self.dtype, self.shape = rows.dtype, rows.shape
        if -(-len(rows) // self._size) != len(checksums):
            raise ValueError(f"it has {len(rows)} rows and {len(checksums)} checksums")

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """These rows, not copied.

        Raises:
            ValueError: one of them, or a neighbour, is not what was written.
        """
        blocks = slice(rows.start // self._size, -(-rows.stop // self._size))
        if 0 in self._sound[blocks]:
            self._check(blocks)
        return self._rows[rows]

    def check(self) -> None:
        """Read everything.

        Raises:
            ValueError: something is not what was written.
        """
        self._check(slice(0, len(self._checksums)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows."""
        self.check()
        return self._rows.astype(dtype or self.dtype, copy=bool(copy))

    def _check(self, blocks: slice) -> None:
        for number in range(blocks.start, blocks.stop):
            if self._sound[number]:
                continue
            first = number * self._size
            block = self._rows[first : first + self._size]
            if google_crc32c.value(block.tobytes()) != self._checksums[number]:
                raise ValueError(
                    f"{self._path} is damaged: frames {first} to {first + len(block) - 1} changed "
                    f"since they were written; remove {self._path.parent} and run again, this part "
                    "alone is encoded anew"
                )
            self._sound[number] = 1


def _block_rows(rows: NDArray[Any]) -> int:
    """Rows of a block, at least one."""
    return max(1, _BLOCK_BYTES // max(1, rows.dtype.itemsize * int(np.prod(rows.shape[1:]))))
