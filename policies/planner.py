"""Acts by planning in a world model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import Solver

from .base import Observations
from .receding import Decision, RecedingHorizon, SeeingModel


class PlannerPolicy:
    """Plans, carries out the first steps, and plans again from where that led.

    Args:
        world_model: encodes what the environments show.
        solver: plans in it.
        receding_horizon: steps of each plan that are carried out, 1 to the solver's horizon.
        warm_start: whether a plan starts from what is left of the one before it.
        gripper_threshold: see :func:`~selfflow_robotics.policies.gripper.snap_gripper`.

    Example::

        solver = CEM(world_model, Progress(world_model), propose=world_model.propose)
        policy = PlannerPolicy(world_model, solver)
    """

    name = "planner"

    def __init__(
        self,
        world_model: SeeingModel,
        solver: Solver,
        receding_horizon: int = 1,
        warm_start: bool = True,
        gripper_threshold: float | None = None,
    ) -> None:
        self.solver, self.warm_start = solver, warm_start
        self._plans: dict[int, Plan] = {}
        self._acting = RecedingHorizon(
            world_model, receding_horizon, self._decide, gripper_threshold
        )

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""
        self._acting.reset(rows, seeds)
        for row in rows:
            self._plans.pop(row, None)

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        return self._acting.act(observations, rows)

    def decisions(self, row: int) -> tuple[Decision, ...]:
        """What the row decided in its present episode, with the seconds each decision took."""
        return tuple(self._acting.decisions[row])

    def imagine(self, row: int) -> Any:
        """The world model's rollout of the row's last plan, one row and one candidate."""
        return self._acting.imagine(row)

    def _decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        previous = [self._plans.get(row) if self.warm_start else None for row in rows]
        plan = self.solver.plan(
            context, previous, executed=self._acting.receding_horizon, seeds=seeds
        )
        for i, row in enumerate(rows):
            self._plans[row] = plan.row(i)
        return plan.actions_BHA
