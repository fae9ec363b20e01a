"""The cross-entropy method: sample action sequences, keep the best, sample around them again.

Rubinstein, "The cross-entropy method for combinatorial and continuous optimization", 1999. The
search runs in the normalised space of the :class:`ActionSpec`, within [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from selfflow_robotics.planning.elites import deviation
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.solvers.gaussian import Gaussian


@dataclass(eq=False)
class CEM(Gaussian):
    """Mean and deviation are the elites'; see :class:`Gaussian`.

    Example:
        >>> solver = CEM(world_model, Progress(world_model), candidates=8, horizon=3)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        # The mean of elites cut at a bound would never reach it.
        run.mean_BHA = elites_BKHA.mean(dim=1)
        run.std_BHA = deviation(elites_BKHA, self.bounds).clamp(min=self.min_std)
