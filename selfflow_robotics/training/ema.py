"""The teacher: an exponential moving average of the student, in fp32."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

from .parallelize import local

_Module = TypeVar("_Module", bound=nn.Module)


class Ema(Generic[_Module]):
    """`module` follows the student: value = decay * value + (1 - decay) * student.

    While few steps are behind it the decay is (1 + step) / (10 + step) where that is smaller, so
    that a short run's average is not of its random start.
    """

    def __init__(self, student: _Module, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"the EMA decay is {decay}; it must be in [0, 1)")
        self.decay = decay
        self.module = copy.deepcopy(student).float().requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, student: _Module, step: int) -> None:
        """Move towards the student after optimizer step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, other = self.module.state_dict(), student.state_dict()
        floats = [k for k, v in own.items() if v.is_floating_point()]
        # Both are spread over ranks alike, so each rank moves the part it holds.
        torch._foreach_lerp_(
            [local(own[k]) for k in floats], [local(other[k]).float() for k in floats], 1 - decay
        )
        for key in own.keys() - set(floats):
            own[key].copy_(other[key])
