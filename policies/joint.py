"""Acts as the joint video-action use of the network suggests, without planning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from selfflow_robotics.streams import RowStreams
from selfflow_robotics.world_model.protocol import Heads

from .receding import RecedingHorizon


class JointPolicy(RecedingHorizon):
    """Draws one action sequence, carries out its first steps, and draws again.

    Args:
        horizon: actions of the model drawn at once.
        receding_horizon: of these, the steps carried out.
        gripper_threshold: see :class:`RecedingHorizon`.
    """

    name = "joint"

    def __init__(
        self,
        world_model: Heads,
        horizon: int = 4,
        receding_horizon: int = 1,
        gripper_threshold: float | None = None,
    ) -> None:
        super().__init__(world_model, receding_horizon, gripper_threshold)
        if receding_horizon > horizon:
            raise ValueError(
                f"receding_horizon is {receding_horizon}, but draws are {horizon} steps long; "
                "lower it or raise the horizon"
            )
        self._propose, self.horizon = world_model.propose, horizon

    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        generators = RowStreams(0, seeds, 0)
        return self._propose(context, 1, self.horizon, generator=generators)[:, 0]
