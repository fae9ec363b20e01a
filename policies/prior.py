"""Acts as the policy prior guesses, without planning: what planning has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from selfflow_robotics.world_model.protocol import Heads

from .receding import RecedingHorizon


class PriorPolicy(RecedingHorizon):
    """Carries out the first steps of the prior's guess, and guesses again.

    Args:
        receding_horizon: steps of each guess that are carried out.
        gripper_threshold: see :class:`RecedingHorizon`.
    """

    name = "prior"

    def __init__(
        self,
        world_model: Heads,
        receding_horizon: int = 1,
        gripper_threshold: float | None = None,
    ) -> None:
        super().__init__(world_model, receding_horizon, gripper_threshold)
        self._guess = world_model.guess

    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        return self._guess(context, 1, self.receding_horizon)[:, 0]
