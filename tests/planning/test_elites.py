"""The best of the candidates, and how far they lie apart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds
from selfflow_robotics.planning.elites import best_of, deviation, weighted_deviation

from .point_mass import spec

BOUNDS = Bounds(spec(q01=(-1.0, -1.0), q99=(1.0, 1.0)))
INF = torch.inf


def drawn(rows: int, count: int) -> Tensor:
    """Some candidates (rows, count, 3, 2), a part of them outside the bounds."""
    return torch.randn(rows, count, 3, 2, generator=torch.Generator().manual_seed(0))


def test_the_best_come_cheapest_first_and_again_in_place_of_those_without_a_cost() -> None:
    candidates = drawn(2, 4)
    cost = torch.tensor([[3.0, 1.0, 2.0, 4.0], [6.0, INF, 5.0, INF]])
    elites, elite_cost = best_of(candidates, cost, 3)
    assert elite_cost.tolist() == [[1, 2, 3], [5, 6, 5]]
    assert torch.equal(elites[0], candidates[0, [1, 2, 0]])
    assert torch.equal(elites[1], candidates[1, [2, 0, 2]])
    assert best_of(candidates, cost, 9)[0].shape == candidates.shape
    with pytest.raises(ValueError, match=r"none of the 4 candidates of row 1 .*concerned: \[1\]"):
        best_of(candidates, torch.tensor([[1.0] * 4, [INF] * 4]), 2)


def test_costs_whose_sum_overflows_are_finite_all_the_same() -> None:
    cost = torch.tensor([[2e38, 3e38, 1e38]])
    assert torch.equal(best_of(drawn(1, 3), cost, 3)[1], torch.tensor([[1e38, 2e38, 3e38]]))


def test_deviation_is_the_unbiased_one_of_what_the_bounds_leave() -> None:
    elites = drawn(3, 6)
    inside = elites.clamp(-1, 1)
    expected = ((inside - inside.mean(1, keepdim=True)).square().sum(1) / 5).sqrt()
    torch.testing.assert_close(deviation(elites, BOUNDS), expected)
    equal = torch.full((3, 6, 1, 1), 1 / 6)
    torch.testing.assert_close(weighted_deviation(elites, equal, BOUNDS), expected)


def test_deviation_of_one_elite_is_zero() -> None:
    elites = drawn(3, 6)
    one = torch.eye(6)[:3, :, None, None]
    assert not deviation(elites[:, :1], BOUNDS).any()
    assert not weighted_deviation(elites, one, BOUNDS).any()
