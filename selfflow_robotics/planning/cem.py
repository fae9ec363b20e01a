"""The cross-entropy method: sample action sequences, keep the best, sample around them again.

Rubinstein, "The cross-entropy method for combinatorial and continuous optimization", 1999. The
search runs in the normalised space of the :class:`ActionSpec`, where every bound is -1 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import best_of, check_deviations, check_topk, statistics
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class CEM(Search):
    """Sample around the elites' mean with their standard deviation; see :class:`Search`.

    The plan is the elites' mean: a single best candidate is too often one whose cost the model
    misjudges (with an error of the cost's own size, the mean's true cost was a third lower). Only
    where the model finds the mean no better than the median candidate of the last iteration, as
    between two ways around an obstacle, or where no time is left to ask it, the plan is the best
    candidate.

    Args:
        topk: elites of an iteration, at most ``candidates``; the best so far is always one.
        initial_std: of the first samples, normalised (the whole range is 2).
        min_std: floor of the elites' standard deviation, normalised.
    """

    topk: int = 8
    initial_std: float = 0.7
    min_std: float = 0.05

    trusts_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_topk(self.topk, self.candidates, "CEM")
        check_deviations(self.initial_std, self.min_std, "CEM")

    def sample(self, run: Run) -> Tensor:
        """See :meth:`Search.sample`."""
        if run.iteration == 1:
            run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        return run.mean_BHA[:, None] + run.std_BHA[:, None] * run.noise(self.candidates)

    def update(self, run: Run, pool_BKHA: Tensor, cost_BK: Tensor) -> None:
        """See :meth:`Search.update`."""
        elites_BKHA, elite_cost_BK = best_of(pool_BKHA, cost_BK, run.share_of(self.topk))
        weight_BK = elite_cost_BK.isfinite().float()
        run.mean_BHA, run.std_BHA = statistics(elites_BKHA, weight_BK, self.min_std, self.bounds)
