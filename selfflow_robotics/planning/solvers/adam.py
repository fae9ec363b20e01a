"""Gradient descent through the world model, from several starts.

Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv 1412.6980, on normalised
actions, which are put back inside their bounds after every step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import check_deviations
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class Adam(Search):
    """Every candidate descends its cost's gradient by itself; see :class:`Search`.

    The world model and the objective must be differentiable in the actions. The first candidate
    descends from what the search starts from, then come proposals, the others from random places
    around the start. The plan is the cheapest candidate seen, at whichever step it was.

    Args:
        learning_rate: step of an action entry, normalised (the whole range is 2).
        initial_std: of the starts, normalised.

    Example:
        >>> solver = Adam(world_model, Progress(world_model), candidates=2, horizon=3)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    candidates: int = 4
    iterations: int = 20
    learning_rate: float = 0.1
    initial_std: float = 0.7

    wants_gradients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.iterations < 2:
            raise ValueError(
                f"Adam got iterations={self.iterations}, which descends no step; give 2 or more"
            )
        check_deviations(self.initial_std, 0.0, "Adam")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"Adam got learning_rate={self.learning_rate}; it must be above 0 and finite"
            )

    def sample(self, run: Run) -> Tensor:
        if run.iteration > 1:
            (actions_BKHA,) = run.memory.param_groups[0]["params"]
            return self.bounds.clamp(actions_BKHA)
        run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        return run.mean_BHA[:, None] + self.initial_std * run.noise(self.candidates)

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        run.mean_BHA = elites_BKHA[:, 0]
        if run.completed < 1:
            return
        assert run.asked_BKHA is not None
        if run.memory is None:
            # Adam works entry by entry, so one optimiser serves all rows and candidates.
            run.memory = torch.optim.Adam([run.asked_BKHA.clone()], lr=self.learning_rate)
        (actions_BKHA,) = run.memory.param_groups[0]["params"]
        actions_BKHA.copy_(run.asked_BKHA)
        actions_BKHA.grad = run.gradient_BKHA
        run.memory.step()
