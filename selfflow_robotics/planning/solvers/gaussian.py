"""What CEM, its improved form and MPPI share: candidates around a mean that follows the elites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import check_deviations, check_topk
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class Gaussian(Search):
    """Sample around a mean with a standard deviation of each entry; see :class:`Search`.

    The plan is the mean: a single best candidate is too often one whose cost the model misjudges
    (with an error of the cost's own size, the mean's true cost was a third lower). Only where the
    model finds the mean no better than the median candidate of the last iteration, as between two
    ways around an obstacle, or where no time is left to ask it, the plan is the best candidate.

    Args:
        topk: elites of an iteration, at most ``candidates``; the best so far is always one.
        initial_std: of the first samples, normalised (the whole range is 2).
        min_std: floor of the standard deviation, normalised.
    """

    topk: int = 8
    initial_std: float = 0.7
    min_std: float = 0.05

    trusts_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        check_topk(self.topk, self.candidates, name)
        check_deviations(self.initial_std, self.min_std, name)

    @property
    def learns_from(self) -> int:
        return self.topk

    def sample(self, run: Run) -> Tensor:
        return self.around_mean(run, run.noise(self.candidates))

    def around_mean(self, run: Run, noise_BKHA: Tensor) -> Tensor:
        """Standard normal noise (B, K, H, A) with the run's mean and deviation, set in round 1."""
        if run.iteration == 1:
            run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        return torch.addcmul(run.mean_BHA[:, None], run.std_BHA[:, None], noise_BKHA)
