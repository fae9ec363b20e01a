"""How far the instruction is carried out."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from selfflow_robotics.world_model.protocol import Heads

from .over_frames import averaged, require_positive


class Progress:
    """The negative predicted progress of the instruction, averaged over the imagined frames.

    Args:
        world_model: was given the instruction when it observed.
        discount: weight of a frame relative to the one before it. Below 1 trusts the first frames
            more, above 1 looks at where the future ends.

    Example:
        >>> Progress(world_model)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(self, world_model: Heads, discount: float = 1.0) -> None:
        require_positive("Progress", discount=discount)
        self.world_model, self.discount = world_model, discount

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in -1..0."""
        progress_BKH = self.world_model.progress(context, rollout)
        return -averaged(progress_BKH, self.discount, "the world model's progress")
