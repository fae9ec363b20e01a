"""The best of the candidates, and what they have in common."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds

_LEAST_FREEDOM = 1e-6  # below it one elite has all the weight


def best_of(candidates_BKHA: Tensor, cost_BK: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` cheapest candidates (all of them where there are fewer), cheapest first.

    Where a row has fewer of finite cost, these come again in turn.

    Raises:
        ValueError: a row has none.
    """
    count = min(count, cost_BK.shape[1])
    elite_cost_BK, elite_BK = cost_BK.topk(count, dim=1, largest=False)
    if not math.isfinite(float(elite_cost_BK.sum())):
        _require_finite(elite_cost_BK[:, 0], cost_BK.shape[1])
        turn_BK = torch.arange(count) % elite_cost_BK.isfinite().sum(dim=1, keepdim=True)
        elite_cost_BK, elite_BK = elite_cost_BK.gather(1, turn_BK), elite_BK.gather(1, turn_BK)
    return candidates_BKHA[_rows(len(elite_BK)), elite_BK], elite_cost_BK


@lru_cache
def _rows(batch: int) -> Tensor:
    return torch.arange(batch)[:, None]


def _require_finite(least_cost_B: Tensor, candidates: int) -> None:
    lost = (least_cost_B == torch.inf).nonzero()[:, 0].tolist()
    if lost:
        raise ValueError(
            f"none of the {candidates} candidates of row {lost[0]} has a finite cost (rows "
            f"concerned: {lost}); the world model or the objective returned NaN or infinity: check "
            "the weights and the observation of that row"
        )


def deviation(elites_BKHA: Tensor, bounds: Bounds) -> Tensor:
    """Unbiased standard deviation (B, H, A) of elites put inside the bounds; of one elite, 0.

    What lies beyond a bound made no difference to a cost.
    """
    return bounds.clamp(elites_BKHA).std(dim=1, correction=min(1, elites_BKHA.shape[1] - 1))


def weighted_deviation(elites_BKHA: Tensor, weight_BK11: Tensor, bounds: Bounds) -> Tensor:
    """As :func:`deviation`, of elites that count by weights whose sum in a row is 1.

    It is the unbiased one for reliability weights, variance / (1 - sum of squared weights): the
    plain one of few elites ends a search too soon.
    """
    inside_BKHA = bounds.clamp(elites_BKHA)
    middle_B1HA = (weight_BK11 * inside_BKHA).sum(dim=1, keepdim=True)
    variance_BHA = (weight_BK11 * (inside_BKHA - middle_B1HA).square()).sum(dim=1)
    freedom_B11 = 1 - weight_BK11.square().sum(dim=1)
    return torch.where(freedom_B11 > _LEAST_FREEDOM, variance_BHA / freedom_B11, 0.0).sqrt()


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
    if not (0 < initial_std < math.inf and 0 <= min_std < math.inf):
        raise ValueError(
            f"{solver} got initial_std={initial_std} and min_std={min_std}; "
            "the first must be above 0, the other 0 or more, both finite"
        )
