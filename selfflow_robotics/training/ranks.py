"""The processes of one training run: how they find each other, add up, agree and wait."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..machine.precision import usable

_T = TypeVar("_T")
_PATIENCE = timedelta(days=7)  # rank 0 may encode a whole data set meanwhile


@dataclass(frozen=True)
class Ranks:
    """This process and the others: rank `rank` of `count`, on `device`.

    Made by :func:`join_ranks`; a process that is alone is `Ranks()` and needs no process group.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"
    patient: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one process that prints and writes."""
        return self.rank == 0

    def sum(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Each scalar added up over all ranks."""
        if self.count == 1:
            return list(values)
        packed = torch.stack([value.detach().double() for value in values])
        dist.all_reduce(packed)
        return list(packed.float().unbind())

    def gather(self, value: _T) -> list[_T]:
        """The values of all ranks, by rank."""
        if self.count == 1:
            return [value]
        found: list[_T | None] = [None] * self.count
        dist.all_gather_object(found, value, group=self.patient)
        return found  # type: ignore[return-value]

    def wait(self) -> None:
        """Until all ranks are here, however long that takes."""
        if self.count > 1:
            dist.barrier(group=self.patient)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Rank 0 does what is inside, then the others do: they find what it wrote to a cache."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """The ranks that a launcher (torchrun, srun) announced in RANK, WORLD_SIZE and LOCAL_RANK.

    Collectives run in gloo on the CPU and nccl on GPUs, of which each rank takes its own. What
    ranks other than 0 print to standard output is not shown.

    Args:
        device: "cpu" or "cuda"; with one process any.

    Raises:
        ValueError: no such device, or several ranks are to share one named GPU.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks(device=str(usable(device)))
        return
    if device not in ("cpu", "cuda"):
        raise ValueError(f'{count} ranks cannot share device="{device}"; give device=cuda')
    rank = int(os.environ["RANK"])
    backend = "gloo"
    if device == "cuda":
        device, backend = f"cuda:{os.environ['LOCAL_RANK']}", "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    dist.init_process_group(backend)
    patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere if rank else sys.stdout):
        yield Ranks(rank, count, device, patient)
    # Not after an error: the other ranks may not be there to take leave.
    dist.destroy_process_group()
