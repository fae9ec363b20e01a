from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor

from selfflow_robotics.world_model.imagination.memory import available, in_parts


def numbered(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
    """Values that tell their row and candidate."""
    row = torch.arange(rows.start, rows.stop)[:, None, None]
    candidate = torch.arange(candidates.start, candidates.stop)[None, :, None]
    return 100.0 * row + candidate + torch.zeros(1, 1, 2), row + 0 * candidate


@pytest.mark.parametrize("most", [-1, 0, 1, 2, 3, 7, 14, 15, 1000])
@pytest.mark.parametrize(("rows", "candidates"), [(1, 1), (1, 5), (3, 1), (3, 5)])
def test_parts_are_put_together_in_order(rows: int, candidates: int, most: int) -> None:
    sizes = []

    def run(some: slice, few: slice) -> tuple[Tensor, ...]:
        sizes.append((some.stop - some.start) * (few.stop - few.start))
        return numbered(some, few)

    every = slice(0, rows), slice(0, candidates)
    for part, whole in zip(in_parts(run, *every, most), numbered(*every), strict=True):
        assert torch.equal(part, whole)
    assert max(sizes) <= max(most, 1)
    assert sum(sizes) == rows * candidates


@pytest.mark.parametrize("room", [1, 2, 5])
def test_less_is_imagined_at_once_where_memory_ends(room: int) -> None:
    failed = []

    def run(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
        if (rows.stop - rows.start) * (candidates.stop - candidates.start) > room:
            failed.append(candidates)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return numbered(rows, candidates)

    every = slice(0, 3), slice(0, 8)
    assert torch.equal(in_parts(run, *every, 1000)[0], numbered(*every)[0])
    assert failed


def test_no_memory_for_a_single_candidate_is_a_sentence() -> None:
    def run(rows: slice, candidates: slice) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match=r"one candidate does not fit.*shorten.*CUDA out of"):
        in_parts(run, slice(0, 2), slice(0, 2), 10)


def test_available_memory_is_no_more_than_there_is() -> None:
    built_in = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available(torch.device("cpu")) <= built_in
