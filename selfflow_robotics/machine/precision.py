"""What networks compute with: kind of numbers, number of threads, memory."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp32"]

_WORTH = 1.3  # bf16 must be faster by this factor


def usable(device: str | torch.device) -> torch.device:
    """A device, on which one number was computed to see that it is there.

    Raises:
        ValueError: there is none of that name here.
    """
    import torch

    try:
        found = torch.device(device)
        torch.zeros(1, device=found).add(1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise ValueError(
            f"device={device} cannot be used here ({reason}); give cpu, or another that is there"
        ) from None
    return found


def resolve(precision: Precision, device: str | torch.device) -> Literal["bf16", "fp32"]:
    """The numbers to compute with.

    Args:
        precision: "auto" takes bf16 on a GPU that has it, and on a processor that multiplies it
            faster, which is measured once in some milliseconds: those without bf16 instructions
            emulate it slowly.
        device: "cpu", "cuda", "cuda:1", ….

    Raises:
        ValueError: another word than these three.
    """
    import torch

    if precision not in get_args(Precision):
        raise ValueError(
            f'no precision "{precision}"; choose one of {", ".join(get_args(Precision))}'
        )
    if precision != "auto":
        return precision
    kind = torch.device(device).type
    on_gpu = kind == "cuda" and torch.cuda.is_bf16_supported()
    return "bf16" if on_gpu or (kind == "cpu" and _bf16_is_faster()) else "fp32"


def resolve_reproducibly(
    precision: Precision, device: str | torch.device
) -> Literal["bf16", "fp32"]:
    """`resolve` for what has to come out the same again, as training does that is resumed.

    On a processor "auto" is fp32: a busy machine may measure otherwise than an idle one.
    """
    import torch

    on_cpu = torch.device(device).type == "cpu"
    return "fp32" if precision == "auto" and on_cpu else resolve(precision, device)


def computing(precision: Precision, device: str | torch.device) -> AbstractContextManager[Any]:
    """A context in which networks compute with these numbers, as `resolve` explains them."""
    import torch

    if resolve(precision, device) == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def use_threads(number: int | None) -> None:
    """Let torch use so many processor threads; all that this process may when None.

    Overrides OMP_NUM_THREADS, which is often set to 1 for processes that run side by side.
    """
    import torch

    if number is not None and number < 1:
        raise ValueError(f"threads={number} is too few; give a number from 1, or null for all")
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    torch.set_num_threads(number or available or 1)


def resident_bytes() -> int:
    """Memory that this process takes now, or at most until now where the system is not Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


@cache
def _bf16_is_faster() -> bool:
    import torch

    # In turns, so that other work on the machine slows both down.
    kinds = (torch.float32, torch.bfloat16)
    full, half = (
        min(times) for times in zip(*(map(_seconds, kinds) for _ in range(8)), strict=True)
    )
    return bool(full > _WORTH * half)


def _seconds(dtype: torch.dtype) -> float:
    """Time of a product of the size a small network has."""
    import torch

    left, right = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype)
    began = time.perf_counter()
    torch.mm(left, right)
    return time.perf_counter() - began
