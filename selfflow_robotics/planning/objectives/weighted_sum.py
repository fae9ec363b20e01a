"""Several objectives at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selfflow_robotics.planning.protocol import Objective


class WeightedSum:
    """A sum of objectives, each times its weight.

    Args:
        terms: (weight, objective) pairs, at least one.

    Example:
        >>> both = WeightedSum([(1.0, Progress(world_model)), (0.1, GoalImage(world_model, image))])
        >>> both(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(self, terms: Sequence[tuple[float, Objective]]) -> None:
        if not terms:
            raise ValueError("WeightedSum got no terms; give (weight, objective) pairs")
        self.terms = tuple(terms)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K)."""
        return torch.stack([w * objective(context, rollout) for w, objective in self.terms]).sum(0)
