"""Actions that are held, and the gripper as a choice."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.planning import BlockCEM
from selfflow_robotics.planning.plan import Plan

from ..point_mass import Effort, PointMass, spec, start

ARM = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))
GRASPING = dataclasses.replace(
    spec(q01=(-0.8, -1.0), q99=(0.6, 1.0)),
    names=("x", "gripper"),
    gripper="relative, +1 closes, -1 opens, 0 keeps",
)
H = 8


class Commands:
    """What the position lacks of a goal, and a unit for each step with another gripper command."""

    def __init__(self, command_BH: Tensor) -> None:
        self.command_BH = command_BH

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        wrong = (rollout.actions_BKHA[..., 1] - self.command_BH[:, None]).abs().sum(-1)
        return wrong + (rollout.position_BKHA[:, :, -1, 0] - 1).abs()


def test_the_gripper_opens_keeps_and_closes_at_the_step_that_costs_least() -> None:
    command_BH = torch.zeros(3, H)
    command_BH[0, 3:], command_BH[1, 6:] = 1.0, -1.0
    model = PointMass(GRASPING)
    plan = BlockCEM(model, Commands(command_BH)).plan(start(3), seeds=range(3))
    torch.testing.assert_close(plan.actions_BHA[..., 1], command_BH)
    assert set(torch.cat(model.asked, dim=1)[..., 1].unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (plan.cost_B < 0.1).all()


def test_commands_that_elites_share_are_drawn_more_often() -> None:
    command_BH = torch.zeros(1, H)
    command_BH[:, 2:] = 1.0
    model = PointMass(GRASPING)
    BlockCEM(model, Commands(command_BH), iterations=4).plan(start(1))
    closing = [(asked[..., 1] == command_BH).all(-1).float().mean().item() for asked in model.asked]
    assert closing[0] < 0.1 and closing[-1] > 0.3


def test_a_gripper_that_is_no_relative_command_is_sampled_like_any_entry() -> None:
    absolute = dataclasses.replace(GRASPING, gripper="absolute, 1 open, 0 closed")
    model = PointMass(absolute)
    BlockCEM(model, Commands(torch.zeros(1, H))).plan(start(1))
    assert len(model.asked[0][..., 1].unique()) > 10


def test_every_step_of_an_action_block_has_a_command_of_its_own() -> None:
    blocks: ActionSpec = GRASPING.block(2)
    model = PointMass(blocks)
    BlockCEM(model, Effort(torch.ones(1, 4)), horizon=3, hold=1).plan(start(1, 4))
    first_KHA = model.asked[0][0]
    commands_KM = first_KHA[..., [1, 3]].flatten(1)  # of all steps, in the order of time
    changes_K = (commands_KM.diff(dim=1) != 0).sum(dim=1)
    assert changes_K.max() == 1  # none goes back
    assert (first_KHA[..., 1] != first_KHA[..., 3]).any()  # some change within a block


@pytest.mark.parametrize("hold", [1, 3, 8, 20])
def test_actions_are_held(hold: int) -> None:
    model = PointMass(ARM)
    BlockCEM(model, Effort(torch.ones(2, 2)), hold=hold).plan(start(2))
    for asked_BKHA in model.asked:
        changes_H = (asked_BKHA.diff(dim=2).abs() > 1e-6).any(dim=-1).any(dim=1).any(dim=0)
        assert changes_H.nonzero()[:, 0].tolist() == list(range(hold - 1, H - 1, hold))


def test_the_last_plan_is_a_candidate_of_the_next() -> None:
    model, command_BH = PointMass(GRASPING), torch.zeros(2, H)
    command_BH[:, 4:] = 1.0
    solver = BlockCEM(model, Commands(command_BH))
    first = solver.plan(start(2))
    model.asked.clear()
    solver.plan(start(2), first, executed=2)
    left_BHA = first.actions_BHA[:, 2:]
    asked_BKHA = model.asked[0][:, :, : H - 2]
    assert (asked_BKHA == left_BHA[:, None]).all(-1).all(-1).any(dim=1).all()


def test_it_starts_from_the_first_proposal_else_from_the_last_plan_and_then_rests() -> None:
    given = torch.tensor([0.1, 0.2, -0.3])[:, None, None].expand(-1, H, 2)

    def propose(context: Any, candidates: int, horizon: int, /, *, generator: Any) -> Tensor:
        return given[None, :candidates]

    model = PointMass(ARM)
    solver = BlockCEM(model, Effort(torch.ones(1, 2)), propose=propose, proposals=3)
    last = solver.plan(start(1))
    torch.testing.assert_close(model.asked[0][0, :4], given[[0, 0, 1, 2]])
    model.asked.clear()
    solver.plan(start(1), last, executed=2)
    left_HA = ARM.denormalize(last.mean_BHA)[0, 2:]
    torch.testing.assert_close(model.asked[0][0, 0], torch.cat([left_HA, torch.zeros(2, 2)]))


def test_a_row_is_planned_as_it_is_alone() -> None:
    command_BH = torch.zeros(3, H)
    command_BH[0, 3:], command_BH[1, 6:] = 1.0, -1.0

    def planned(rows: list[int], previous: Plan | None = None) -> Plan:
        solver = BlockCEM(PointMass(GRASPING), Commands(command_BH[rows]))
        return solver.plan(start(len(rows)), previous, seeds=[7 + row for row in rows])

    together = planned([0, 1, 2], planned([0, 1, 2]))
    for row in range(3):
        alone = planned([row], planned([row]))
        assert torch.equal(alone.actions_BHA[0], together.actions_BHA[row])


@pytest.mark.parametrize("hold", [0, -1, 1.5])
def test_a_hold_of_no_steps_is_an_error(hold: Any) -> None:
    with pytest.raises(ValueError, match=f"hold={hold}; give a whole number of steps"):
        BlockCEM(PointMass(ARM), Effort(torch.ones(1, 2)), hold=hold)
