"""How far imagined frames are from a goal image, in features or in latents.

They serve the last centimetres. Latents say next to nothing until objects overlap their goals;
features order frames from farther off, but by no measure that means anything. From there use
:class:`GoalImage`, whose number of steps falls all the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfflow_robotics.world_model.protocol import Heads

from .goals import checked_images, for_each_row, goal_features
from .imagined import imagined
from .over_frames import averaged, require_positive


class GoalFeatures:
    """1 - cosine between the features of imagined frames and of a goal image, mean of M vectors.

    Args:
        world_model: makes features.
        image: (height, width, 3) uint8, one goal for all rows, or (B, height, width, 3), one each;
            of the size the world model sees.
        discount: weight of a frame relative to the one before it.
        state: proprioception (P,) at the goal, or (B, P), where it is known.

    Raises:
        ValueError: an image of another shape or type, or another number of goals than rows.

    Example:
        >>> GoalFeatures(world_model, image)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(
        self,
        world_model: Heads,
        image: NDArray[np.uint8],
        discount: float = 1.0,
        state: NDArray[np.float32] | None = None,
    ) -> None:
        require_positive("GoalFeatures", discount=discount)
        self.discount = discount
        self.goal_BMD = goal_features(world_model, image, state)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in 0..2 of a rollout with ``features_BKHMD``."""
        goal_BMD = for_each_row(self.goal_BMD, context, "GoalFeatures")
        features_BKHMD = imagined(rollout, "features_BKHMD", "GoalFeatures")
        cosine_BKHM = F.cosine_similarity(
            features_BKHMD.float(), goal_BMD[:, None, None].float(), dim=-1
        )
        return averaged(1 - cosine_BKHM.mean(dim=-1), self.discount, "the features' distance")


class GoalLatents:
    """Mean squared difference between the latents of imagined frames and of a goal image.

    Args:
        world_model: its tokenizer makes latents of the goal.
        image: as that of :class:`GoalFeatures`.
        discount: weight of a frame relative to the one before it.

    Raises:
        ValueError: an image of another shape or type, or another number of goals than rows.

    Example:
        >>> GoalLatents(world_model, image)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(self, world_model: Heads, image: NDArray[np.uint8], discount: float = 1.0) -> None:
        require_positive("GoalLatents", discount=discount)
        self.discount = discount
        tokenizer = world_model.tokenizer
        with torch.no_grad():
            images = torch.as_tensor(checked_images(image)).to(tokenizer.device)
            self.goal_BCHW = tokenizer.encode(images).float()

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K), 0 or more, of a rollout with ``latents_BKHCHW``."""
        goal_BCHW = for_each_row(self.goal_BCHW, context, "GoalLatents")
        latents_BKHCHW = imagined(rollout, "latents_BKHCHW", "GoalLatents")
        left = latents_BKHCHW.float() - goal_BCHW[:, None, None]
        return averaged(
            left.square().mean(dim=(-3, -2, -1)), self.discount, "the latents' distance"
        )
