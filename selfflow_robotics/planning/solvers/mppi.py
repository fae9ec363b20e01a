"""Model predictive path integral control: all good candidates count, better ones more.

Williams et al., "Information Theoretic MPC for Model-Based Reinforcement Learning", 2017, with the
elites and the adapting deviation of TD-MPC (Hansen et al., 2022, arXiv 2203.04955).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import weighted_deviation
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.solvers.gaussian import Gaussian

_LEAST_SPREAD = 1e-12  # of costs; elites that cost the same weigh the same


@dataclass(eq=False)
class MPPI(Gaussian):
    """The elites count by exp(-cost / temperature); see :class:`Gaussian`.

    Costs are measured in standard deviations of the elites' costs, so that ``temperature`` means
    the same for every objective.

    Args:
        temperature: standard deviations of cost after which a weight has fallen to a third, above
            0; low ones follow the best candidate, high ones the elites' plain mean.

    Example:
        >>> solver = MPPI(world_model, Progress(world_model), candidates=8, horizon=3)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"MPPI got temperature={self.temperature}; it must be above 0")

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        above_BK = cost_BK - cost_BK[:, :1]
        spread_B1 = above_BK.std(dim=1, correction=0, keepdim=True).clamp(min=_LEAST_SPREAD)
        weight_BK = torch.softmax(above_BK / (-self.temperature * spread_B1), dim=1)
        weight_BK11 = weight_BK[:, :, None, None]
        run.mean_BHA = (weight_BK11 * elites_BKHA).sum(dim=1)
        std_BHA = weighted_deviation(elites_BKHA, weight_BK11, self.bounds)
        run.std_BHA = std_BHA.clamp(min=self.min_std)
