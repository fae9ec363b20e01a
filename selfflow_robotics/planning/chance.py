"""Judges that know nothing: what a search is worth whose costs say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

from selfflow_robotics.planning.judge import Judge
from selfflow_robotics.streams import derive_seed


class DealtOut(Judge):
    """Deals the costs of the candidates that are judged together out anew among them."""

    informed = False

    def _price(
        self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, int]:
        cost_BK, passes = super()._price(context, candidates_BKHA, seeds)
        streams = _streams(self.seed, candidates_BKHA, seeds)
        deals = [torch.randperm(cost_BK.shape[1], generator=stream) for stream in streams]
        return cost_BK.gather(1, torch.stack(deals)), passes


class ByChance(Judge):
    """Draws every cost from 0 to 1 and imagines nothing."""

    informed = False

    def _price(
        self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, int]:
        streams = _streams(self.seed, candidates_BKHA, seeds)
        count = candidates_BKHA.shape[1]
        return torch.stack([torch.rand(count, generator=stream) for stream in streams]), 0


def _streams(seed: int, candidates_BKHA: Tensor, seeds: Sequence[int]) -> list[torch.Generator]:
    """A row's stream for just these candidates: rounds differ, and plans can be made again."""
    told = [crc32(row.detach().cpu().numpy().tobytes()) for row in candidates_BKHA]
    return [
        torch.Generator().manual_seed(derive_seed(seed, row, one))
        for row, one in zip(seeds, told, strict=True)
    ]
