"""The improved cross-entropy method: coloured noise, and good candidates that are not forgotten.

Pinneri et al., "Sample-efficient Cross-Entropy Method for Real-time Planning", 2020,
arXiv 2008.06389; default settings as there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from selfflow_robotics.planning.elites import deviation
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.solvers.colored_noise import colored
from selfflow_robotics.planning.solvers.gaussian import Gaussian
from selfflow_robotics.planning.start import shifted_elites


@dataclass(eq=False)
class ICEM(Gaussian):
    """CEM with fewer candidates from round to round, around fewer dead ends; see :class:`Gaussian`.

    Noise is coloured along the steps. A share of the elites stays among those of the next
    iteration, and, shifted, among the first candidates of the next plan. Mean and deviation keep a
    part of their old values. The mean is a candidate of every iteration, as the first one's start
    is (in the paper, of the last alone).

    Args:
        noise_beta: exponent of the noise's colour, 0 (white) or more.
        keep: share of the elites that is kept, 0..1; the best always is.
        momentum: part of the old mean and deviation that stays, 0 to below 1.
        decay: an iteration has so many times fewer candidates than the one before it, but two for
            each elite; 1 or more.

    Example:
        >>> solver = ICEM(world_model, Progress(world_model), candidates=8, horizon=3)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    noise_beta: float = 2.0
    keep: float = 0.3
    momentum: float = 0.1
    decay: float = 1.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (
            self.noise_beta >= 0
            and 0 <= self.keep <= 1
            and 0 <= self.momentum < 1
            and self.decay >= 1
        ):
            raise ValueError(
                f"ICEM got noise_beta={self.noise_beta}, keep={self.keep}, "
                f"momentum={self.momentum} and decay={self.decay}; they must be 0 or more, in "
                "0..1, in 0..1 and below 1, and 1 or more"
            )

    @property
    def keeps(self) -> int:
        return max(1, math.ceil(self.keep * self.topk))

    def sample(self, run: Run) -> Tensor:
        count = self._population(run.iteration)
        sampled_BKHA = self.around_mean(run, colored(run.noise(count), self.noise_beta))
        if run.iteration > 1:
            sampled_BKHA[:, 0] = run.mean_BHA
        return sampled_BKHA

    def compose(self, run: Run, sampled_BKHA: Tensor, proposals_BKHA: Tensor) -> Tensor:
        """See :meth:`Search.compose`; the last plan's elites follow the proposals."""
        first_BKHA = super().compose(run, sampled_BKHA, proposals_BKHA)
        behind = min(1 + proposals_BKHA.shape[1], self.candidates - self.keeps)
        places = slice(max(1, behind), max(1, behind) + self.keeps)
        first_BKHA[:, places] = shifted_elites(run.previous, run.executed, first_BKHA[:, places])
        return first_BKHA

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        run.mean_BHA = elites_BKHA.mean(dim=1).lerp(run.mean_BHA, self.momentum)
        std_BHA = deviation(elites_BKHA, self.bounds).lerp(run.std_BHA, self.momentum)
        run.std_BHA = std_BHA.clamp(min=self.min_std)

    def _population(self, iteration: int) -> int:
        decayed = int(self.candidates * self.decay ** (1 - iteration))
        return min(self.candidates, max(decayed, 2 * self.topk))
