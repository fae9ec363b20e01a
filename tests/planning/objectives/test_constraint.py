"""Values that must stay inside a range."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import CEM, Constraint, WeightedSum

from ..point_mass import At, Path, PointMass, spec, start

VALUES = torch.tensor([[[0.0, 0.5], [0.9, 1.5], [-1.0, 0.2]]])  # one row, three candidates


def read(context: object, rollout: Tensor) -> Tensor:
    return rollout


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5]),
        (None, 1.0, [0.0, 0.25, 0.0]),
        (0.5, None, [0.25, 0.0, 0.9]),
    ],
)
def test_only_what_lies_beyond_the_range_costs(
    low: float | None, high: float | None, expected: list[float]
) -> None:
    cost = Constraint(read, low, high)(start(1), VALUES)
    torch.testing.assert_close(cost, torch.tensor([expected]))
    twice = Constraint(read, low, high, weight=2.0)(start(1), VALUES)
    torch.testing.assert_close(twice, 2 * cost)


def test_an_infinite_weight_forbids() -> None:
    cost = Constraint(read, 0.0, 1.0, weight=float("inf"))(start(1), VALUES)
    assert cost.tolist() == [[0.0, float("inf"), float("inf")]]


@pytest.mark.parametrize("weight", [50.0, float("inf")])
def test_a_plan_keeps_to_it(weight: float) -> None:
    def height(context: At, rollout: Path) -> Tensor:
        return rollout.position_BKHA[..., 1]

    def distance(context: At, rollout: Path) -> Tensor:
        return (rollout.position_BKHA[:, :, -1] - 0.6).square().sum(-1)

    world = PointMass(spec((-1.0, -1.0), (1.0, 1.0)))
    limit = Constraint(height, high=0.3, weight=weight)
    objective = WeightedSum([(1.0, distance), (1.0, limit)])
    plan = CEM(world, objective, 128, 8, horizon=2, topk=8).plan(start(1))
    reached = plan.actions_BHA[0].cumsum(0)
    assert reached[:, 1].max() < 0.32
    assert reached[-1, 1] > 0.2
    assert abs(reached[-1, 0] - 0.6) < 0.1


def test_gradients_point_back_into_the_range() -> None:
    values = VALUES.clone().requires_grad_()
    Constraint(read, 0.0, 1.0)(start(1), values).sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, torch.tensor([[[0, 0], [0, 0.5], [-0.5, 0]]]))


def test_limits_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match="no limit"):
        Constraint(read)
    with pytest.raises(ValueError, match=r"low=1\.0 above high=0\.0"):
        Constraint(read, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"weight=0"):
        Constraint(read, 1.0, weight=0)
    with pytest.raises(ValueError, match="what Constraint reads returned shape"):
        Constraint(lambda context, rollout: torch.zeros(1, 2), 0.0)(start(1), VALUES)


@pytest.mark.parametrize("weight", [1.0, float("inf")])
def test_what_cannot_be_read_is_never_chosen(weight: float) -> None:
    values = VALUES.clone()
    values[0, 0, 0] = float("nan")
    cost = Constraint(read, -2.0, 2.0, weight)(start(1), values)
    assert cost.isfinite().tolist() == [[False, True, True]]
