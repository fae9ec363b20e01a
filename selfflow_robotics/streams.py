"""Random streams that belong to a row, not to the batch it happens to be in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=1 << 14)  # a plan asks for the same streams again and again
def derive_seed(*parts: int) -> int:
    """A 63-bit seed from non-negative integers, such as (seed, episode seed, step)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def row_generators(seed: int, seeds: Sequence[int], purpose: int) -> list[torch.Generator]:
    """One CPU generator a row.

    Args:
        seed: of the solver, 0 or more.
        seeds: of each row, 0 or more.
        purpose: tells apart streams that one row uses for different things.
    """
    return [torch.Generator().manual_seed(derive_seed(seed, row, purpose)) for row in seeds]


def normal(generators: Sequence[torch.Generator], *shape: int) -> Tensor:
    """Standard normal numbers, (len(generators), \\*shape), float32 on CPU, a stream a row."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators])


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
