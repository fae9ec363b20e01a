"""How many steps are left to a goal image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfflow_robotics.world_model.protocol import Heads

from .goals import for_each_row, goal_features
from .imagined import imagined
from .over_frames import averaged, require_positive


class GoalImage:
    """The predicted number of steps to a goal image and, near it, likeness to its features.

    The likeness ((1 + cosine) / 2, averaged over the M feature vectors) is flat until objects
    overlap their goals, so it only counts where at most ``near`` steps are left: there it is taken
    off the steps, in proportion to how near the frame is. Without a jump, fewer steps always cost
    less, and near the goal so does more likeness.

    Args:
        world_model: predicts steps and features.
        image: (height, width, 3) uint8, one goal for all rows, or (B, height, width, 3), one each;
            of the size the world model sees.
        near: steps below which likeness counts, above 0.
        likeness_weight: steps that full likeness is worth.
        discount: weight of a frame relative to the one before it.
        state: proprioception (P,) at the goal, or (B, P), where it is known. A model trained with
            proprioception orders frames by their steps much better with it than without.

    Raises:
        ValueError: an image of another shape or type, or another number of goals than rows.

    Example:
        >>> GoalImage(world_model, image)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(
        self,
        world_model: Heads,
        image: NDArray[np.uint8],
        near: float = 3.0,
        likeness_weight: float = 3.0,
        discount: float = 1.0,
        state: NDArray[np.float32] | None = None,
    ) -> None:
        require_positive("GoalImage", near=near, discount=discount)
        self.world_model, self.near, self.discount = world_model, near, discount
        self.likeness_weight = likeness_weight
        self.goal_BMD = goal_features(world_model, image, state)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in steps.

        Args:
            context: of B rows.
            rollout: with ``features_BKHMD``.
        """
        goal_BMD = for_each_row(self.goal_BMD, context, "GoalImage")
        features_BKHMD = imagined(rollout, "features_BKHMD", "GoalImage")
        steps_BKH = self.world_model.steps_to_goal(rollout, goal_BMD)
        cosine_BKHM = F.cosine_similarity(
            features_BKHMD.float(), goal_BMD[:, None, None].float(), dim=-1
        )
        likeness_BKH = (1 + cosine_BKHM.mean(dim=-1)) / 2
        nearness_BKH = (1 - steps_BKH / self.near).clamp(0, 1)
        cost_BKH = steps_BKH - self.likeness_weight * nearness_BKH * likeness_BKH
        return averaged(cost_BKH, self.discount, "the world model's steps_to_goal")
