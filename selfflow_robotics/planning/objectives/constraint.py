"""Values that imagined frames must keep to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .over_frames import averaged, require_positive


class Constraint:
    """A price on every imagined frame at which a value leaves its allowed range.

    Args:
        read: ``read(context, rollout)`` gives the value at every frame, (B, K, H): an entry of a
            :class:`StateOf` such as the height of the gripper, or any function.
        low: least allowed value; None allows any.
        high: greatest allowed value; None allows any.
        weight: price of one unit beyond the range, averaged over frames; infinite forbids it: a
            future with one such frame costs infinity and is never chosen.
        discount: weight of a frame relative to the one before it.

    Raises:
        ValueError: no limit, limits that allow nothing, or a setting of 0 or less.

    Example:
        >>> high_enough = Constraint(StateOf(probe, "z"), low=0.75, weight=10.0)
        >>> objective = WeightedSum([(1.0, Progress(world_model)), (1.0, high_enough)])
    """

    def __init__(
        self,
        read: Callable[[Any, Any], Tensor],
        low: float | None = None,
        high: float | None = None,
        weight: float = 1.0,
        discount: float = 1.0,
    ) -> None:
        require_positive("Constraint", weight=weight, discount=discount)
        if low is None and high is None:
            raise ValueError("Constraint got no limit; give low, high or both")
        if low is not None and high is not None and not low <= high:
            raise ValueError(
                f"Constraint got low={low} above high={high}; nothing would be allowed"
            )
        self.read, self.weight, self.discount = read, weight, discount
        self.low = -torch.inf if low is None else low
        self.high = torch.inf if high is None else high

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K), 0 or more; 0 where every frame keeps to the range."""
        value_BKH = self.read(context, rollout).float()
        beyond_BKH = (self.low - value_BKH).relu() + (value_BKH - self.high).relu()
        if self.weight == torch.inf:
            left_BK = (beyond_BKH > 0).any(dim=-1)
            cost_BK = averaged(beyond_BKH, self.discount, "what Constraint reads")
            return cost_BK.masked_fill(left_BK, torch.inf)
        return self.weight * averaged(beyond_BKH, self.discount, "what Constraint reads")
