"""Random streams that belong to a row, not to the batch it happens to be in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import overload

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=1 << 14)  # a plan asks for the same streams again and again
def derive_seed(*parts: int) -> int:
    """A 63-bit seed from non-negative integers, such as (seed, episode seed, step)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


class RowStreams(Sequence[torch.Generator]):
    """One CPU generator a row, seeded when first used: many a model never asks for randomness.

    Args:
        seed: of the solver, 0 or more.
        seeds: of each row, 0 or more.
        purpose: tells apart streams that one row uses for different things.
    """

    def __init__(self, seed: int, seeds: Sequence[int], purpose: int) -> None:
        self._seed, self._seeds, self._purpose = seed, seeds, purpose

    @cached_property
    def _seeded(self) -> list[torch.Generator]:
        return [
            torch.Generator().manual_seed(derive_seed(self._seed, row, self._purpose))
            for row in self._seeds
        ]

    def __len__(self) -> int:
        return len(self._seeds)

    def __iter__(self) -> Iterator[torch.Generator]:
        return iter(self._seeded)

    @overload
    def __getitem__(self, row: int) -> torch.Generator: ...
    @overload
    def __getitem__(self, row: slice) -> list[torch.Generator]: ...
    def __getitem__(self, row: int | slice) -> torch.Generator | list[torch.Generator]:
        return self._seeded[row]


def normal(generators: Sequence[torch.Generator], *shape: int) -> Tensor:
    """Standard normal numbers, (len(generators), \\*shape), float32 on CPU, a stream a row."""
    numbers = torch.empty(len(generators), *shape)
    for row, generator in zip(numbers.unbind(), generators, strict=True):
        row.normal_(generator=generator)
    return numbers


def streams_of_rows(
    given: Sequence[torch.Generator] | None, rows: int
) -> Sequence[torch.Generator]:
    """Those given, one a row; the same for all rows where none is given.

    Raises:
        ValueError: another number than rows.
    """
    streams = given or [torch.Generator().manual_seed(0) for _ in range(rows)]
    if len(streams) != rows:
        raise ValueError(f"{len(streams)} random streams for {rows} rows; give one each")
    return streams
