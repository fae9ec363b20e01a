"""What judges that know nothing say of candidates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import CEM, Judge
from selfflow_robotics.planning.chance import ByChance, DealtOut

from .point_mass import Path, PointMass, spec, start

SPEC = spec(q01=(-1.0, -1.0), q99=(1.0, 1.0))
CANDIDATES = torch.linspace(-1, 1, 2 * 40 * 3 * 2).reshape(2, 40, 3, 2)


def first_action(context: Any, path: Path) -> Tensor:
    return path.actions_BKHA[:, :, 0, 0]


def judged(kind: type[Judge], rows: slice = slice(None), move: float = 0.0) -> Tensor:
    some = CANDIDATES[rows] * (1 - move)
    judge = kind(PointMass(SPEC), first_action)
    return judge.cost(start(len(some)), some, [3, 4][rows]).cost_BK


def test_costs_dealt_out_anew_are_the_same_costs_of_other_candidates() -> None:
    true, dealt = judged(Judge), judged(DealtOut)
    assert torch.equal(dealt.sort(dim=1).values, true.sort(dim=1).values)
    assert (dealt != true).float().mean() > 0.8


@pytest.mark.parametrize("kind", [DealtOut, ByChance])
def test_chance_belongs_to_the_row_and_its_candidates(kind: type[Judge]) -> None:
    both = judged(kind)
    assert torch.equal(both, judged(kind))
    assert torch.equal(both[1:], judged(kind, slice(1, 2)))
    order = both[0].argsort()
    assert not torch.equal(order, both[1].argsort())
    assert not torch.equal(order, judged(kind, move=0.1)[0].argsort())


def test_a_search_by_chance_imagines_nothing_and_gains_nothing() -> None:
    settings: dict[str, Any] = {"candidates": 16, "iterations": 3, "initial_std": 0.5}
    solver = CEM(PointMass(SPEC), first_action, **settings)
    informed = solver.plan(start(64), seeds=range(64))
    for kind in (DealtOut, ByChance):
        knowing_nothing = CEM(PointMass(SPEC), first_action, **settings, judging=kind)
        plan = knowing_nothing.plan(start(64), seeds=range(64))
        assert (plan.passes == 0) == (kind is ByChance)
        gained = plan.actions_BHA[:, 0, 0].mean()
        assert informed.actions_BHA[:, 0, 0].mean() < -0.6 and gained.abs() < 0.2
