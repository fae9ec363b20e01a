"""Planning towards a state that is read out of imagined frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import CEM, Constraint, Readout, StateOf, WeightedSum

from ..point_mass import Path, PointMass, spec, start


class Probe:
    """The first two features of a frame's only token are x and y."""

    names = ("x", "y")

    def __call__(self, features: Tensor) -> Tensor:
        return features[..., 0, :2]


@dataclass(frozen=True)
class Seen:
    features_BKHMD: Tensor


class FeaturedPoint(PointMass):
    """A point whose position is a feature."""

    def rollout(self, context: object, actions_BKHA: Tensor, /, **given: object) -> Seen:  # type: ignore[override]
        path: Path = super().rollout(context, actions_BKHA, **given)  # type: ignore[arg-type]
        return Seen(path.position_BKHA[:, :, :, None])


def seen(*positions: list[list[float]]) -> Seen:
    return Seen(torch.tensor(positions)[None, :, :, None])


def test_the_cost_is_the_distance_to_the_target() -> None:
    future = seen([[0.0, 0.0], [0.3, 0.4]], [[0.3, 0.4], [0.3, 0.4]])
    cost = Readout(Probe(), {"x": 0.3, "y": 0.4})(start(1), future)
    torch.testing.assert_close(cost, torch.tensor([[0.25, 0.0]]))


def test_entries_without_a_target_are_free_and_weights_count() -> None:
    future = seen([[0.0, 9.0]], [[0.5, -9.0]])
    cost = Readout(Probe(), {"x": 0.5}, {"x": 3.0})(start(1), future)
    torch.testing.assert_close(cost, torch.tensor([[1.5, 0.0]]))


def test_every_row_may_have_its_target() -> None:
    future = Seen(torch.zeros(2, 1, 1, 1, 2))
    cost = Readout(Probe(), {"x": np.array([1.0, 2.0]), "y": 0.0})(start(2), future)
    torch.testing.assert_close(cost, torch.tensor([[1.0], [2.0]]))
    with pytest.raises(ValueError, match="Readout holds 2 goals but 3 rows"):
        Readout(Probe(), {"x": np.zeros(2)})(start(3), Seen(torch.zeros(3, 1, 1, 1, 2)))


def test_a_plan_goes_to_the_target_and_keeps_to_a_limit_on_the_way() -> None:
    world = FeaturedPoint(spec((-1.0, -1.0), (1.0, 1.0)))
    target = Readout(Probe(), {"x": 0.5, "y": 0.6})
    cem = CEM(world, target, 128, 8, horizon=1, topk=8)
    torch.testing.assert_close(
        cem.plan(start(1)).actions_BHA[0, 0], torch.tensor([0.5, 0.6]), atol=0.05, rtol=0
    )
    limit = Constraint(StateOf(Probe(), "y"), high=0.2, weight=10)
    limited = WeightedSum([(1.0, target), (1.0, limit)])
    plan = CEM(world, limited, 128, 8, horizon=1, topk=8).plan(start(1))
    assert plan.actions_BHA[0, 0, 1] < 0.25


def test_the_target_itself_has_a_gradient_that_is_finite() -> None:
    features = torch.zeros(1, 1, 1, 1, 2, requires_grad=True)
    Readout(Probe(), {"x": 0.0, "y": 0.0})(start(1), Seen(features)).sum().backward()
    assert features.grad is not None and features.grad.isfinite().all()


def test_targets_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match="reads x, y, not z"):
        Readout(Probe(), {"z": 0.0})
    with pytest.raises(ValueError, match="no target"):
        Readout(Probe(), {})
    with pytest.raises(ValueError, match="finite"):
        Readout(Probe(), {"x": float("nan")})
    with pytest.raises(ValueError, match="no target of y"):
        Readout(Probe(), {"x": 0.0}, {"y": 1.0})
    with pytest.raises(ValueError, match="reads x, y, not w"):
        StateOf(Probe(), "w")
