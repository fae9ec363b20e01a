"""Rows of several arrays as one, read where they lie: an array larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class RowArray(Protocol):
    """What rows are read from: an array, or one that looks at what it gives."""

    @property
    def dtype(self) -> Any: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]: ...

    def __array__(self) -> NDArray[Any]: ...


class JoinedRows:
    """Arrays (s_i, ...) that differ in length alone, seen as one array (sum of s_i, ...).

    The arrays may be memory-mapped: only the rows that are asked for are read. Sizes and indices
    mean what they mean of an array; there are no negative ones.
    """

    def __init__(self, parts: Sequence[RowArray]) -> None:
        self.parts = [part for part in parts if len(part)] or list(parts[:1])
        self._ends = np.cumsum([len(part) for part in self.parts])
        self._begins = self._ends - [len(part) for part in self.parts]
        self.dtype = self.parts[0].dtype
        self.shape = (int(self._ends[-1]), *self.parts[0].shape[1:])

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.shape[0])

    def runs(self, starts: NDArray[np.int64], length: int) -> Iterator[NDArray[Any]]:
        """(length, ...) rows from each of these on, not copied.

        Raises:
            IndexError: no array holds them all.
        """
        numbers = np.searchsorted(self._ends, starts, side="right")
        torn = np.flatnonzero(self._ends[numbers.clip(max=len(self.parts) - 1)] < starts + length)
        if len(torn):
            start = starts[torn[0]]
            raise IndexError(
                f"rows {start} to {start + length} of {len(self)} do not lie in one part"
            )
        firsts = starts - self._begins[numbers]
        for number, first in zip(numbers.tolist(), firsts.tolist(), strict=True):
            yield self.parts[number][first : first + length]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """All rows in memory."""
        rows = np.concatenate([np.asarray(part) for part in self.parts])
        return rows.astype(dtype or self.dtype, copy=False)
