"""What a solver decided, and what the next decision can start from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Plan:
    """Actions for B environments over H steps; all tensors are float32 on CPU."""

    actions_BHA: Tensor  # environment units, inside the bounds
    cost_B: Tensor  # predicted cost of these actions, pessimism included
    initial_cost_B: Tensor  # predicted cost of what the search started from
    mean_BHA: Tensor  # where the next search starts, normalised to [-1, 1]
    std_BHA: Tensor  # how far around it this one still searched, normalised
    elites_BKHA: Tensor  # other good candidates, best first, normalised; K may be 0
    iterations: int  # begun, which a budget may cut short
    passes: int  # network passes of all rows' rollouts, as the world model counted them
    seconds: float  # wall time of the search
    solver_seconds: float  # of these, spent outside the world model and the objective

    def row(self, index: int) -> Plan:
        """The plan of one environment; time and passes stay those of the whole batch."""
        i = slice(index, index + 1)
        return replace(
            self,
            actions_BHA=self.actions_BHA[i],
            cost_B=self.cost_B[i],
            initial_cost_B=self.initial_cost_B[i],
            mean_BHA=self.mean_BHA[i],
            std_BHA=self.std_BHA[i],
            elites_BKHA=self.elites_BKHA[i],
        )
