"""What a good future is: costs (B, K) of imagined rollouts, lower is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfflow_robotics.planning.protocol import Objective


class PredictsProgress(Protocol):
    """A world model that knows how near an imagined frame is to success."""

    def progress(self, context: Any, rollout: Any, /) -> Tensor:
        """(B, K, H) in 0..1: a discount to the power of the steps left to success."""
        ...


class PredictsStepsToGoal(Protocol):
    """A world model that knows how many steps separate an imagined frame from a goal image."""

    def encode_goal(self, images: NDArray[np.uint8], /) -> Tensor:
        """Features (B, M, D) of images (B, height, width, 3)."""
        ...

    def steps_to_goal(self, rollout: Any, goal_features: Tensor, /) -> Tensor:
        """(B, K, H) environment steps."""
        ...


class Progress:
    """The negative predicted progress of the instruction, averaged over the imagined frames.

    Args:
        world_model: was given the instruction when it observed.
        discount: weight of a frame relative to the one before it. Below 1 trusts the first frames
            more, above 1 looks at where the future ends.

    Example::

        CEM(world_model, Progress(world_model)).plan(world_model.observe(..., instruction=text))
    """

    def __init__(self, world_model: PredictsProgress, discount: float = 1.0) -> None:
        _require_positive("Progress", discount=discount)
        self.world_model, self.discount = world_model, discount

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in -1..0."""
        return -_weighed(self.world_model.progress(context, rollout), self.discount, "progress")


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

    Raises:
        ValueError: an image of another shape or type, or another number of goals than rows.
    """

    def __init__(
        self,
        world_model: PredictsStepsToGoal,
        image: NDArray[np.uint8],
        near: float = 3.0,
        likeness_weight: float = 3.0,
        discount: float = 1.0,
    ) -> None:
        _require_positive("GoalImage", near=near, discount=discount)
        images = np.asarray(image)
        images = images[None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"the goal image has shape {np.shape(image)} and type {images.dtype}; "
                "give uint8 of shape (height, width, 3), or (rows, height, width, 3)"
            )
        self.world_model, self.near, self.discount = world_model, near, discount
        self.likeness_weight = likeness_weight
        with torch.no_grad():
            self.goal_BMD = world_model.encode_goal(images)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in steps.

        Args:
            context: of B rows.
            rollout: with ``features_BKHMD``.
        """
        goals = len(self.goal_BMD)
        if goals not in (1, context.batch):
            raise ValueError(
                f"GoalImage holds {goals} goals but {context.batch} rows are planned for; "
                "give one goal for all, or one each"
            )
        goal_BMD = self.goal_BMD.expand(context.batch, -1, -1)
        steps_BKH = self.world_model.steps_to_goal(rollout, goal_BMD)
        cosine_BKHM = F.cosine_similarity(
            rollout.features_BKHMD.float(), goal_BMD[:, None, None].float(), dim=-1
        )
        likeness_BKH = (1 + cosine_BKHM.mean(dim=-1)) / 2
        nearness_BKH = (1 - steps_BKH / self.near).clamp(0, 1)
        cost_BKH = steps_BKH - self.likeness_weight * nearness_BKH * likeness_BKH
        return _weighed(cost_BKH, self.discount, "steps_to_goal")


class WeightedSum:
    """A sum of objectives, each times its weight.

    Args:
        terms: (weight, objective) pairs, at least one.

    Example::

        WeightedSum([(1.0, Progress(world_model)), (0.1, GoalImage(world_model, image))])
    """

    def __init__(self, terms: Sequence[tuple[float, Objective]]) -> None:
        if not terms:
            raise ValueError("WeightedSum got no terms; give (weight, objective) pairs")
        self.terms = tuple(terms)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K)."""
        return torch.stack([w * objective(context, rollout) for w, objective in self.terms]).sum(0)


def _weighed(value_BKH: Tensor, discount: float, name: str) -> Tensor:
    if value_BKH.ndim != 3:
        raise ValueError(
            f"the world model's {name} returned shape {tuple(value_BKH.shape)}; "
            "it must return (rows, candidates, horizon)"
        )
    weight_H = discount ** torch.arange(value_BKH.shape[-1], device=value_BKH.device)
    return (value_BKH.float() * weight_H).sum(dim=-1) / weight_H.sum()


def _require_positive(name: str, **settings: float) -> None:
    for key, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} got {key}={value}; it must be above 0")
