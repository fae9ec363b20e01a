"""Rows of several arrays as one, read where they lie: an array larger than memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class JoinedRows:
    """Arrays (s_i, ...) that differ in length alone, seen as one array (sum of s_i, ...).

    The arrays may be memory-mapped: only the rows that are asked for are read. Sizes and indices
    mean what they mean of an array; there are no negative ones.
    """

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self.parts = [part for part in parts if len(part)] or list(parts[:1])
        self._ends = np.cumsum([len(part) for part in self.parts])
        self.dtype = self.parts[0].dtype
        self.shape = (int(self._ends[-1]), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.shape[0])

    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The rows of an array of indices, any shape: (*index.shape, ...)."""
        flat = np.asarray(index).reshape(-1)
        out = np.empty((len(flat), *self.shape[1:]), self.dtype)
        for row, number in enumerate(flat):
            out[row] = self.run(number, 1)[0]
        return out.reshape(*np.shape(index), *self.shape[1:])

    def run(self, start: int | np.int64, length: int) -> NDArray[Any]:
        """(length, ...) rows of one of the arrays, not copied.

        Raises:
            IndexError: no array holds them all.
        """
        number = int(np.searchsorted(self._ends, start, side="right"))
        if number < len(self.parts):
            part = self.parts[number]
            first = start - self._ends[number] + len(part)
            if first + length <= len(part):
                return part[first : first + length]
        raise IndexError(f"rows {start} to {start + length} of {len(self)} do not lie in one part")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows in memory."""
        return np.concatenate(self.parts).astype(dtype or self.dtype, copy=False)
