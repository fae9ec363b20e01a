"""Planning among what a policy thinks likely."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import PolicyGuided

from ..point_mass import Effort, PointMass, spec, start

SPEC = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))
GOAL = torch.tensor([[0.8, 1.2], [-1.0, 0.4]])


def propose(context: Any, candidates: int, horizon: int, /, *, generator: Any) -> Tensor:
    """Actions along one line only."""
    size = torch.stack([torch.rand(candidates, 1, 1, generator=g) for g in generator])
    return (size * torch.tensor([0.3, 0.3])).expand(-1, -1, horizon, -1)


def refine(context: Any, actions_BKHA: Tensor, time: float, /, *, generator: Any) -> Tensor:
    """Other actions of the line, near the given ones."""
    shape = (actions_BKHA.shape[1], 1, 1)
    moved = torch.stack([torch.randn(shape, generator=g) for g in generator])
    return (actions_BKHA + 0.1 * time * moved).clamp(0, 0.3)


def test_candidates_stay_among_what_the_policy_proposes() -> None:
    model = PointMass(SPEC)
    plan = PolicyGuided(model, Effort(GOAL), propose=propose, refine=refine).plan(start(2))
    for actions in (*model.asked, plan.actions_BHA):
        torch.testing.assert_close(actions[..., 0], actions[..., 1])
        assert ((actions >= -1e-6) & (actions <= 0.3 + 1e-6)).all()


def test_refining_finds_better_ones_than_drawing_alone() -> None:
    drawn = PolicyGuided(PointMass(SPEC), Effort(GOAL), 6, 1, propose=propose).plan(start(2))
    refined = PolicyGuided(PointMass(SPEC), Effort(GOAL), 6, 8, propose=propose, refine=refine)
    assert (refined.plan(start(2)).cost_B <= drawn.cost_B).all()
    assert refined.plan(start(2)).cost_B[0] < drawn.cost_B[0]


def test_every_elite_has_its_turn_and_is_noised_to_the_time_given() -> None:
    asked: list[tuple[Tensor, float]] = []

    def remembered(context: Any, actions_BKHA: Tensor, time: float, /, *, generator: Any) -> Tensor:
        asked.append((actions_BKHA, time))
        return actions_BKHA

    solver = PolicyGuided(
        PointMass(SPEC), Effort(GOAL), 8, 2, topk=3, propose=propose, refine=remembered, time=0.3
    )
    solver.plan(start(2))
    ((given, time),) = asked
    assert time == 0.3 and given.shape == (2, 8, 4, 2)
    assert torch.equal(given[:, :3], given[:, 3:6])
    assert not torch.equal(given[:, 0], given[:, 1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"refine": refine}, "pass propose=world_model.propose"),
        ({"propose": propose}, "pass refine=world_model.refine, or iterations=1"),
        ({"propose": propose, "refine": refine, "time": 0.0}, "time=0.0"),
        ({"propose": propose, "refine": refine, "topk": 17}, "topk=17 of candidates=16"),
    ],
)
def test_settings_outside_their_range_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyGuided(PointMass(SPEC), Effort(GOAL), **settings)


def test_variations_of_another_shape_are_an_error() -> None:
    def careless(context: Any, actions_BKHA: Tensor, time: float, /, *, generator: Any) -> Tensor:
        return actions_BKHA[:, :, :1]

    with pytest.raises(ValueError, match=r"refine returned actions of shape \(2, 16, 1, 2\)"):
        PolicyGuided(PointMass(SPEC), Effort(GOAL), propose=propose, refine=careless).plan(start(2))
