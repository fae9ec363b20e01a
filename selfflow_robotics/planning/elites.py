"""The best of the candidates, and what they have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds

_LEAST_FREEDOM = 1e-6  # below it one elite has all the weight


def best_of(candidates_BKHA: Tensor, cost_BK: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` cheapest candidates (all of them where there are fewer), cheapest first."""
    count = min(count, cost_BK.shape[1])
    elite_cost_BK, elite_BK = cost_BK.topk(count, dim=1, largest=False)
    return candidates_BKHA.take_along_dim(elite_BK[:, :, None, None], dim=1), elite_cost_BK


def statistics(
    elites_BKHA: Tensor, weight_BK: Tensor, min_std: float, bounds: Bounds
) -> tuple[Tensor, Tensor]:
    """Weighted mean and floored standard deviation, (B, H, A) each.

    The mean is that of the elites as they were drawn, then put inside the bounds: the mean of
    elites cut at a bound never reaches it. The deviation is that of the cut ones: what lies beyond
    a bound made no difference to their costs. It is the unbiased one for reliability weights,
    variance / (1 - sum of squared weights): the plain one of few elites ends a search too soon.

    Args:
        elites_BKHA: normalised, perhaps outside the bounds.
        weight_BK: 0 or more, not all 0 in a row; they need not add up to 1.
        min_std: normalised.
        bounds: of the actions.
    """
    weight_BK11 = (weight_BK / weight_BK.sum(dim=1, keepdim=True))[:, :, None, None]
    mean_BHA = bounds.clamp((weight_BK11 * elites_BKHA).sum(dim=1))
    inside_BKHA = bounds.clamp(elites_BKHA)
    middle_BHA = (weight_BK11 * inside_BKHA).sum(dim=1)
    variance_BHA = (weight_BK11 * (inside_BKHA - middle_BHA[:, None]).square()).sum(dim=1)
    freedom_B11 = 1 - weight_BK11.square().sum(dim=1)
    unbiased_BHA = torch.where(freedom_B11 > _LEAST_FREEDOM, variance_BHA / freedom_B11, 0.0)
    return mean_BHA, unbiased_BHA.sqrt().clamp(min=min_std)


def check_topk(topk: int, candidates: int, solver: str) -> None:
    """Refuse a number of elites outside 1..candidates.

    Raises:
        ValueError: says so.
    """
    if topk < 1:
        raise ValueError(f"{solver} got topk={topk}; it must be 1 or more")
    if topk > candidates:
        raise ValueError(
            f"{solver} got topk={topk} of candidates={candidates}; "
            "lower topk, a tenth of the candidates is usual"
        )


def check_deviations(initial_std: float, min_std: float, solver: str) -> None:
    """Refuse standard deviations that search nothing.

    Raises:
        ValueError: says so.
    """
    if not (initial_std > 0 and min_std >= 0):
        raise ValueError(
            f"{solver} got initial_std={initial_std} and min_std={min_std}; "
            "the first must be above 0, the other 0 or more"
        )
