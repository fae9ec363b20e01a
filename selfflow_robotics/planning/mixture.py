"""Candidates from several sources at once: where one knows nothing, another may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfflow_robotics.planning.protocol import Propose, RowGenerators


@dataclass(frozen=True)
class Mixture:
    """A :class:`Propose` that draws one candidate of ``first`` and the others in equal shares.

    Args:
        first: draws what a search without a previous plan starts from, as a prior's guess.
        others: draw as many candidates each, but for the remainder, which the first ones get.

    Example:
        >>> draw = Mixture(world_model.guess, (world_model.propose,))
        >>> solver = BlockCEM(world_model, Progress(world_model), propose=draw, proposals=16)
    """

    first: Propose
    others: tuple[Propose, ...] = ()

    def __call__(
        self, context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
    ) -> Tensor:
        """See :class:`Propose`."""
        shares = [len(range(i, candidates - 1, len(self.others))) for i in range(len(self.others))]
        drawn = [(self.first, candidates - sum(shares)), *zip(self.others, shares, strict=True)]
        parts = [draw(context, n, horizon, generator=generator) for draw, n in drawn if n]
        return torch.cat(parts, dim=1)
