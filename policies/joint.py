"""Acts as the joint video-action use of the network suggests, without planning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.planning.protocol import RowGenerators
from selfflow_robotics.planning.streams import row_generators

from .base import Observations
from .receding import Decision, RecedingHorizon, SeeingModel


class ProposingModel(SeeingModel, Protocol):
    """A world model whose network also denoises actions."""

    def propose(
        self, context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
    ) -> Tensor:
        """(B, candidates, horizon, A), environment units."""
        ...


class JointPolicy:
    """Draws one action sequence, carries out its first steps, and draws again.

    Args:
        world_model: proposes.
        horizon: steps drawn at once.
        receding_horizon: of these, the steps carried out.
        gripper_threshold: see :func:`~selfflow_robotics.policies.gripper.snap_gripper`.
    """

    name = "joint"

    def __init__(
        self,
        world_model: ProposingModel,
        horizon: int = 4,
        receding_horizon: int = 1,
        gripper_threshold: float | None = None,
    ) -> None:
        self.world_model, self.horizon = world_model, horizon
        self._acting = RecedingHorizon(
            world_model, receding_horizon, self._decide, gripper_threshold
        )

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""
        self._acting.reset(rows, seeds)

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        return self._acting.act(observations, rows)

    def decisions(self, row: int) -> tuple[Decision, ...]:
        """What the row decided in its present episode, with the seconds each decision took."""
        return tuple(self._acting.decisions[row])

    def imagine(self, row: int) -> Any:
        """The world model's rollout of the row's last decision, one row and one candidate."""
        return self._acting.imagine(row)

    def _decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        generators = row_generators(0, seeds, 0)
        return self.world_model.propose(context, 1, self.horizon, generator=generators)[:, 0]
