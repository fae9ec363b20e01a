"""Pictures of what to reach: one for all rows of a plan, or one each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.images.eight_bit import eight_bit
from selfflow_robotics.world_model.protocol import Heads


def goal_features(
    world_model: Heads, image: NDArray[np.uint8], state: NDArray[np.float32] | None
) -> Tensor:
    """Features (goals, M, D) of one picture or several, without a gradient.

    Raises:
        ValueError: a picture of another shape or type, or another number of states than pictures.
    """
    images = checked_images(image)
    states = None if state is None else np.atleast_2d(np.asarray(state, np.float32))
    if states is not None and len(states) != len(images):
        raise ValueError(
            f"{len(images)} goal images came with {len(states)} states; give one each, or none"
        )
    with torch.no_grad():
        return world_model.encode_goal(images, states)


def checked_images(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(goals, height, width, 3), of one picture (height, width, 3) or several.

    Raises:
        ValueError: another shape or type.
    """
    images = eight_bit(image, "the goal image")
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4:
        raise ValueError(
            f"the goal image has shape {np.shape(image)}; give (height, width, 3), or (rows, "
            "height, width, 3)"
        )
    return images


def for_each_row(goals: Tensor, context: Any, name: str) -> Tensor:
    """The goals (B, ...), of one or B.

    Raises:
        ValueError: another number of goals than rows.
    """
    if len(goals) not in (1, context.batch):
        raise ValueError(
            f"{name} holds {len(goals)} goals but {context.batch} rows are planned for; "
            "give one goal for all, or one each"
        )
    return goals.expand(context.batch, *goals.shape[1:])
