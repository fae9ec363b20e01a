"""The way back from noise: the times that a sampler visits. t=1 is noise and t=0 is data."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .timesteps import shift_time

_MOST_STEPS = 10_000


def schedule(num_steps: int, shift: float = 1.0) -> Tensor:
    """Times (num_steps + 1,) from 1 down to 0; `shift` above 1 spends more of them near noise."""
    if not 1 <= num_steps <= _MOST_STEPS:
        raise ValueError(f"num_steps is {num_steps}; sample in 1 to {_MOST_STEPS} steps")
    return shift_time(torch.linspace(1, 0, num_steps + 1, dtype=torch.float64), shift).float()


class Step(NamedTuple):
    """From one time to an earlier one; `size` is the share of the schedule that lies between."""

    now: float
    then: float
    size: float


def steps_along(num_steps: int, shift: float = 1.0, start: float = 1.0) -> list[Step]:
    """The steps of `schedule`, whose size is 1 / num_steps; all times shrink with a lower start."""
    times = start * schedule(num_steps, shift)
    places = shift_time(times.double(), 1 / shift)
    pairs = zip(pairwise(times.tolist()), pairwise(places.tolist()), strict=True)
    return [Step(now, then, first - last) for (now, then), (first, last) in pairs]
