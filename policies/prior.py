"""Acts as the policy prior guesses, without planning: what planning has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from .receding import RecedingHorizon, SeeingModel


class GuessingModel(SeeingModel, Protocol):
    """A world model with a policy prior."""

    def guess(self, context: Any, candidates: int, horizon: int, /) -> Tensor:
        """(B, candidates, horizon, A), environment units."""
        ...


class PriorPolicy(RecedingHorizon):
    """Carries out the first steps of the prior's guess, and guesses again.

    Args:
        world_model: guesses.
        receding_horizon: steps of each guess that are carried out.
        gripper_threshold: see :func:`~selfflow_robotics.policies.gripper.snap_gripper`.
    """

    name = "prior"

    def __init__(
        self,
        world_model: GuessingModel,
        receding_horizon: int = 1,
        gripper_threshold: float | None = None,
    ) -> None:
        super().__init__(world_model, receding_horizon, gripper_threshold)
        self._guess = world_model.guess

    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        """See :meth:`RecedingHorizon.decide`."""
        return self._guess(context, 1, self.receding_horizon)[:, 0]
