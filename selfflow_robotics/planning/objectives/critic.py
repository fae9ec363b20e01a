"""How many steps are left, as a critic counts them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.world_model.protocol import Heads

from .goals import checked_images, for_each_row

_SOLVED = 0.5  # steps; a frame of which all heads say fewer is one where it is done


class StepsLeft:
    """Steps that the instruction still needs, on average over the later half of what is imagined.

    What was done on the way stays so: the least that was said counts. A search finds what is too
    good to be true, and a single frame, the last, is that more often than several: counted there
    alone, plans solved 5 of 18 episodes without a prior where they solve 12 so.

    Args:
        world_model: has a critic, and was given the instruction when it observed.
        discount: 1; steps are not discounted.
        doubt: steps that a standard deviation of the critic's heads adds.

    Raises:
        ValueError: no critic, or a setting that makes no sense.

    Example:
        >>> StepsLeft(world_model)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(self, world_model: Heads, discount: float = 1.0, doubt: float = 0.0) -> None:
        if discount != 1:
            raise ValueError(
                f"the critic got discount={discount}, but steps are not discounted; "
                "leave planner.discount at 1"
            )
        if not 0 <= doubt < math.inf:
            raise ValueError(f"the critic got doubt={doubt}; give a finite number, 0 or more")
        if getattr(world_model, "critic", None) is None:
            raise ValueError(
                "planning by a critic needs a world model that has one; fit one to it: selfflow "
                "finetune trainer.steps=0 critic.steps=4000 start=FOLDER data=FOLDER"
            )
        self.world_model, self.doubt = world_model, doubt

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in steps."""
        return self._cost(self.world_model.steps_left(context, rollout))

    def _cost(self, steps_BKHN: Tensor) -> Tensor:
        steps_BKHN = steps_BKHN.float()
        late_BKN = steps_BKHN[:, :, steps_BKHN.shape[2] // 2 :].mean(dim=2)
        done_BK = (steps_BKHN.amax(dim=-1) < _SOLVED).any(dim=-1)
        least_BK = steps_BKHN.mean(dim=-1).amin(dim=-1)
        expected_BK = torch.where(done_BK, least_BK, late_BKN.mean(dim=-1))
        return expected_BK + self.doubt * late_BKN.std(dim=-1, correction=0)


class StepsToGoal(StepsLeft):
    """Steps that a goal image still needs, as :class:`StepsLeft` counts them.

    Args:
        world_model: has a critic.
        image: (height, width, 3) uint8, one goal for all rows, or (B, height, width, 3), one each.
        discount: 1; steps are not discounted.
        doubt: steps that a standard deviation of the critic's heads adds.
        state: proprioception (P,) at the goal, or (B, P), where it is known.

    Raises:
        ValueError: no critic, a setting that makes no sense, an image of another shape or type, or
            another number of goals than rows.
    """

    def __init__(
        self,
        world_model: Heads,
        image: NDArray[np.uint8],
        discount: float = 1.0,
        doubt: float = 0.0,
        state: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__(world_model, discount, doubt)
        states = None if state is None else np.atleast_2d(np.asarray(state, np.float32))
        self.goal = world_model.goal_frame(checked_images(image), states)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) in steps."""
        goal = tuple(
            None if one is None else for_each_row(one, context, "StepsToGoal") for one in self.goal
        )
        return self._cost(self.world_model.steps_left(context, rollout, goal))
