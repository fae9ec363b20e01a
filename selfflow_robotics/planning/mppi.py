"""Model predictive path integral control: all good candidates count, better ones more.

Williams et al., "Information Theoretic MPC for Model-Based Reinforcement Learning", 2017, with the
elites and the adapting deviation of TD-MPC (Hansen et al., 2022, arXiv 2203.04955).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import best_of, check_deviations, check_topk, statistics
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search

_LEAST_SPREAD = 1e-12  # of costs; elites that cost the same weigh the same


@dataclass(eq=False)
class MPPI(Search):
    """Sample around the elites' mean, weighted by exp(-cost / temperature); see :class:`Search`.

    Costs are measured in standard deviations of the elites' costs, so that ``temperature`` means
    the same for every objective. The plan is the mean, or the best candidate where the world model
    finds the mean no better than the median one, as for CEM.

    Args:
        topk: elites of an iteration, at most ``candidates``; the best so far is always one.
        temperature: standard deviations of cost after which a weight has fallen to a third, above
            0; low ones follow the best candidate, high ones the elites' plain mean.
        initial_std: of the first samples, normalised (the whole range is 2).
        min_std: floor of the elites' standard deviation, normalised.
    """

    topk: int = 8
    temperature: float = 0.5
    initial_std: float = 0.7
    min_std: float = 0.05

    trusts_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_topk(self.topk, self.candidates, "MPPI")
        check_deviations(self.initial_std, self.min_std, "MPPI")
        if not self.temperature > 0:
            raise ValueError(f"MPPI got temperature={self.temperature}; it must be above 0")

    def sample(self, run: Run) -> Tensor:
        """See :meth:`Search.sample`."""
        if run.iteration == 1:
            run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        return run.mean_BHA[:, None] + run.std_BHA[:, None] * run.noise(self.candidates)

    def update(self, run: Run, pool_BKHA: Tensor, cost_BK: Tensor) -> None:
        """See :meth:`Search.update`."""
        elites_BKHA, elite_cost_BK = best_of(pool_BKHA, cost_BK, run.share_of(self.topk))
        weight_BK = _weights(elite_cost_BK, self.temperature)
        run.mean_BHA, run.std_BHA = statistics(elites_BKHA, weight_BK, self.min_std, self.bounds)


def _weights(cost_BK: Tensor, temperature: float) -> Tensor:
    """exp(-cost), in temperatures of a row's finite costs' deviation above its lowest."""
    finite_BK = cost_BK.isfinite()
    count_B1 = finite_BK.sum(dim=1, keepdim=True)
    above_BK = torch.where(finite_BK, cost_BK - cost_BK.min(dim=1, keepdim=True).values, 0.0)
    mean_B1 = above_BK.sum(dim=1, keepdim=True) / count_B1
    variance_B1 = ((above_BK - mean_B1).square() * finite_BK).sum(dim=1, keepdim=True) / count_B1
    spread_B1 = variance_B1.sqrt().clamp(min=_LEAST_SPREAD)
    return torch.exp(-above_BK / (temperature * spread_B1)) * finite_BK
