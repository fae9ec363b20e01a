"""How many futures at once fit the memory there is, and imagining more than that in parts."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...model.dit import DiTConfig

Run = Callable[[slice, slice], tuple[Tensor, ...]]
"""Results (rows, candidates, ...) of a slice of the rows and a slice of the candidates."""

SHARE = 0.6
"""Of the memory that is free; the rest is for fragments and for what others allocate."""

TRIAL = 4
"""Candidates of one row whose memory is measured."""


def available(device: torch.device) -> float:
    """Bytes that can still be allocated on a device.

    Of a GPU, those its driver calls free and those torch holds in reserve; of the machine, what
    Linux calls available, within the limit of a container; elsewhere half of what is built in.
    """
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(free + reserved)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        entries = dict(line.split(":", 1) for line in lines)
        free = 1024 * int(entries["MemAvailable"].split()[0])
    except (OSError, KeyError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min(free, _left_in_container())


def _left_in_container() -> float:
    """Bytes to the limit of this container (control group), not counting files it could drop."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no container, or "max"
        return math.inf
    return max(limit - used + int(counts.get("inactive_file", 0)), 0)


def bytes_each(network: DiTConfig, horizon: int, frames: int) -> int:
    """About what imagining one candidate takes in fp32, with so many frames in a pass.

    Counts what lives at once: a block's modulation, projections and hidden values of the frames in
    the pass, keys and values of all frames twice (while they are appended), features.
    """
    block = frames * network.tokens * (31 + 2 * network.mlp_ratio) * network.width
    block += frames * network.grid[0] * network.grid[1] * network.patch**2 * 8 * network.cells
    kept = horizon * network.tokens * (4 * network.depth * (frames < horizon) + 3) * network.width
    return int(4 * (block + kept))


def measured(run: Run, candidates: int, device: torch.device) -> float:
    """Bytes that a candidate takes while it is imagined, from a trial on a GPU."""
    count = min(candidates, TRIAL)
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    in_parts(run, slice(0, 1), slice(0, count), count)
    torch.cuda.synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / count


def in_parts(run: Run, rows: slice, candidates: slice, most: int) -> tuple[Tensor, ...]:
    """`run`, with at most so many candidates of all rows at once, and fewer where memory ends.

    Args:
        rows, candidates: from start to stop, at least one of each.
        most: candidates at once, over all rows; less than 1 counts as 1.

    Raises:
        MemoryError: there is no memory for a single one.
    """
    row_count, count = rows.stop - rows.start, candidates.stop - candidates.start
    if row_count * count <= max(most, 1):
        try:
            return run(rows, candidates)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        # Out of the handler, which would hold the tensors of the failed attempt.
        if row_count * count == 1:
            raise MemoryError(
                "imagining one candidate does not fit in memory; shorten horizon or history, or "
                f"free memory on the device ({reason})"
            )
        torch.cuda.empty_cache()
        most = row_count * count // 2
    if count > 1:
        middle, axis = candidates.start + (count + 1) // 2, 1
        parts = [
            in_parts(run, rows, part, most)
            for part in (slice(candidates.start, middle), slice(middle, candidates.stop))
        ]
    else:
        middle, axis = rows.start + (row_count + 1) // 2, 0
        parts = [
            in_parts(run, part, candidates, most)
            for part in (slice(rows.start, middle), slice(middle, rows.stop))
        ]
    return tuple(torch.cat(values, dim=axis) for values in zip(*parts, strict=True))
