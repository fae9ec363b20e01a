"""A number of steps as a distribution to be learnt (HL-Gauss, arXiv 2403.03950)."""

from __future__ import annotations

import torch
from torch import Tensor

_BLUR = 0.75  # deviation, steps


def chances_of(steps_B: Tensor, most: int) -> Tensor:
    """Chances (B, most + 1) of 0, 1, ... steps and of never, around the steps given.

    `most` steps or more, infinitely many among them, are never.
    """
    edge = torch.arange(most - 1, device=steps_B.device) + 0.5
    below = torch.special.ndtr((edge - steps_B.clamp(max=most)[:, None]) / _BLUR)
    ends = below.new_zeros(len(below), 1), below.new_ones(len(below), 1)
    chance = torch.cat((ends[0], below, ends[1]), dim=1).diff(dim=1)
    lost = (steps_B >= most)[:, None]
    return torch.cat((chance * ~lost, lost.to(chance)), dim=1)
