"""A plan in the making: what a solver knows from round to round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from selfflow_robotics.planning.budget import Budget, Stopwatch
from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.streams import normal


@dataclass(eq=False)
class Run:
    """One plan in the making, for B rows; all actions are normalised."""

    context: Any
    seeds: Sequence[int]
    previous: list[Plan | None]  # of one row each
    executed: int
    sampling: Sequence[Generator]  # a stream a row, to sample from
    proposing: Sequence[Generator]  # and one to propose with
    budget: Budget
    modelling: Stopwatch  # time inside the world model and the objective
    mean_BHA: Tensor
    std_BHA: Tensor
    kept_BKHA: Tensor  # best so far, cheapest first
    kept_cost_BK: Tensor
    iteration: int = 0  # from 1
    iterations: int = 0  # of which something was judged
    asked_BKHA: Tensor | None = None  # what was judged of the round, perhaps outside the bounds
    completed: float = 1.0  # part of the round that was judged; a budget may cut the last short
    gradient_BKHA: Tensor | None = None  # of the round, where a solver wants it
    memory: Any = None  # a solver's own, from round to round

    def share_of(self, topk: int) -> int:
        """Elites of the round: in proportion to what was judged of it, at least one."""
        return max(1, round(topk * self.completed))

    def noise(self, count: int) -> Tensor:
        """Standard normal numbers, (B, count, H, A), each row's from its own stream."""
        return normal(self.sampling, count, *self.mean_BHA.shape[1:])
