"""Predictive sampling: try variations of the plan there is, keep the best.

Howell et al., "Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo", 2022,
arXiv 2212.00541.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import check_deviations
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class PredictiveSampling(Search):
    """Sample around the best candidate so far, with a fixed deviation; see :class:`Search`.

    One iteration a plan, as published, relies on a warm start; more of them search on around the
    best candidate.

    Args:
        initial_std: of the samples, normalised (the whole range is 2); it stays.

    Example:
        >>> solver = PredictiveSampling(world_model, Progress(world_model), horizon=3)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    iterations: int = 1
    initial_std: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        check_deviations(self.initial_std, 0.0, "PredictiveSampling")

    def sample(self, run: Run) -> Tensor:
        run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        return run.mean_BHA[:, None] + self.initial_std * run.noise(self.candidates)

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        run.mean_BHA = elites_BKHA[:, 0]
