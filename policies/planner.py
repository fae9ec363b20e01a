"""Acts by planning in a world model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import Solver
from selfflow_robotics.world_model.protocol import Observes

from .receding import RecedingHorizon

if TYPE_CHECKING:
    from .late_goals import TowardsLateGoals


class PlannerPolicy(RecedingHorizon):
    """Plans, carries out the first steps, and plans again from where that led.

    Args:
        solver: plans in it.
        receding_horizon: steps of each plan that are carried out, 1 to the solver's horizon.
        warm_start: whether a plan starts from what is left of the one before it.
        gripper_threshold: see :class:`RecedingHorizon`.
        goals: the solver's objective, where every row has a goal of its own.

    Example:
        >>> solver = CEM(world_model, Progress(world_model), propose=world_model.propose)
        >>> policy = PlannerPolicy(world_model, solver)
    """

    name = "planner"

    def __init__(
        self,
        world_model: Observes,
        solver: Solver,
        receding_horizon: int = 1,
        warm_start: bool = True,
        gripper_threshold: float | None = None,
        goals: TowardsLateGoals | None = None,
    ) -> None:
        super().__init__(world_model, receding_horizon, gripper_threshold)
        self.solver, self.warm_start, self.goals = solver, warm_start, goals
        self._plans: dict[int, Plan] = {}

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        super().reset(rows, seeds)
        for row in rows:
            self._plans.pop(row, None)

    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        if self.goals is not None:
            self.goals.stand_at(rows)
        previous = [self._plans.get(row) if self.warm_start else None for row in rows]
        plan = self.solver.plan(context, previous, executed=self.receding_horizon, seeds=seeds)
        for i, row in enumerate(rows):
            self._plans[row] = plan.row(i)
        return plan.actions_BHA
