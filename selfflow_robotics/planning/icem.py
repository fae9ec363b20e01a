"""The improved cross-entropy method: coloured noise, and good candidates that are not forgotten.

Pinneri et al., "Sample-efficient Cross-Entropy Method for Real-time Planning", 2020,
arXiv 2008.06389; default settings as there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.colored_noise import colored
from selfflow_robotics.planning.elites import best_of, check_deviations, check_topk, statistics
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search
from selfflow_robotics.planning.start import shifted_elites


@dataclass(eq=False)
class ICEM(Search):
    """CEM with fewer candidates from round to round, around fewer dead ends; see :class:`Search`.

    Noise is coloured along the steps. A share of the elites stays among those of the next
    iteration, and, shifted, among the first candidates of the next plan. Mean and deviation keep a
    part of their old values. The mean is a candidate of every iteration, as the first one's start
    is (in the paper, of the last alone); the plan is the best candidate of all.

    Args:
        topk: elites of an iteration, at most ``candidates``.
        initial_std: of the first samples, normalised (the whole range is 2).
        min_std: floor of the deviation, normalised.
        noise_beta: exponent of the noise's colour, 0 (white) or more.
        keep: share of the elites that is kept, 0..1; the best always is.
        momentum: part of the old mean and deviation that stays, 0 to below 1.
        decay: an iteration has so many times fewer candidates than the one before it, but two for
            each elite; 1 or more.
    """

    topk: int = 8
    initial_std: float = 0.7
    min_std: float = 0.05
    noise_beta: float = 2.0
    keep: float = 0.3
    momentum: float = 0.1
    decay: float = 1.25

    trusts_mean: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_topk(self.topk, self.candidates, "ICEM")
        check_deviations(self.initial_std, self.min_std, "ICEM")
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
        """See :attr:`Search.keeps`."""
        return max(1, math.ceil(self.keep * self.topk))

    def sample(self, run: Run) -> Tensor:
        """See :meth:`Search.sample`."""
        count = self._population(run.iteration)
        if run.iteration == 1:
            run.std_BHA = torch.full_like(run.mean_BHA, self.initial_std)
        noise_BKHA = colored(run.noise(count), self.noise_beta)
        sampled_BKHA = run.mean_BHA[:, None] + run.std_BHA[:, None] * noise_BKHA
        if run.iteration == 1:
            places = slice(1, 1 + self.keeps)
            sampled_BKHA[:, places] = shifted_elites(
                run.previous, run.executed, sampled_BKHA[:, places]
            )
        else:
            sampled_BKHA[:, 0] = run.mean_BHA
        return sampled_BKHA

    def update(self, run: Run, pool_BKHA: Tensor, cost_BK: Tensor) -> None:
        """See :meth:`Search.update`."""
        elites_BKHA, elite_cost_BK = best_of(pool_BKHA, cost_BK, run.share_of(self.topk))
        weight_BK = elite_cost_BK.isfinite().float()
        mean_BHA, std_BHA = statistics(elites_BKHA, weight_BK, 0.0, self.bounds)
        old = self.momentum
        run.mean_BHA = old * run.mean_BHA + (1 - old) * mean_BHA
        run.std_BHA = (old * run.std_BHA + (1 - old) * std_BHA).clamp(min=self.min_std)

    def _population(self, iteration: int) -> int:
        decayed = int(self.candidates * self.decay ** (1 - iteration))
        return min(self.candidates, max(decayed, 2 * self.topk))
