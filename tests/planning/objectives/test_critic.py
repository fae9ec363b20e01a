"""A plan costs the steps that a critic counts over its later half."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from chain import CONFIG
from tiny_world import IMAGE, P, candidate_actions, history, world_model
from torch import Tensor

from selfflow_robotics.planning.config import PlannerConfig, make_solver, objective_of
from selfflow_robotics.planning.objectives.critic import StepsLeft, StepsToGoal
from selfflow_robotics.training.fitted_critic import critic_sizes
from selfflow_robotics.world_model.world_model import WorldModel

from ..point_mass import start


class Counted:
    """A world model whose rollouts are what its critic says of them, (B, K, H, heads)."""

    critic = object()

    def steps_left(self, context: Any, rollout: Tensor, goal: Any = None) -> Tensor:
        return rollout

    def goal_frame(self, images: Any, states: Any = None) -> Any:
        return torch.zeros(len(images), 1, 1, 1), None


def test_a_cost_is_the_steps_of_the_later_half() -> None:
    said = torch.tensor([[[[9.0, 9.0], [4.0, 6.0]], [[2.0, 2.0], [7.0, 7.0]]]])
    torch.testing.assert_close(StepsLeft(Counted())(start(1), said), torch.tensor([[5.0, 7.0]]))


def test_a_single_frame_too_good_to_be_true_does_not_decide() -> None:
    heads = [[9.0, 8.0, 7.0, 1.0], [9.0, 6.0, 4.0, 3.0]]
    said = torch.tensor(heads)[None, :, :, None].expand(-1, -1, -1, 2)
    torch.testing.assert_close(StepsLeft(Counted())(start(1), said), torch.tensor([[4.0, 3.5]]))


def test_what_was_done_on_the_way_stays_so_if_all_heads_say_so() -> None:
    said = torch.tensor([[[[0.1, 0.3], [8.0, 8.0]], [[0.1, 0.9], [8.0, 8.0]]]])
    torch.testing.assert_close(StepsLeft(Counted())(start(1), said), torch.tensor([[0.2, 8.0]]))


def test_doubt_costs_steps() -> None:
    said = torch.tensor([[[[4.0, 6.0]], [[5.5, 5.5]]]])
    assert StepsLeft(Counted())(start(1), said).argmin() == 0
    cost = StepsLeft(Counted(), doubt=2.0)(start(1), said)
    torch.testing.assert_close(cost, torch.tensor([[7.0, 5.5]]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"doubt": math.nan}, "doubt=nan; give a finite number"),
        ({"doubt": math.inf}, "doubt=inf; give a finite number"),
        ({"doubt": -1.0}, "doubt=-1.0; give a finite number"),
        ({"discount": 0.9}, "leave planner.discount at 1"),
    ],
)
def test_settings_that_make_no_sense_are_sentences(settings: Any, message: str) -> None:
    for make in (StepsLeft, lambda *a, **k: StepsToGoal(*a, np.zeros((4, 4, 3), np.uint8), **k)):
        with pytest.raises(ValueError, match=message):
            make(Counted(), **settings)


def test_a_model_without_a_critic_is_a_sentence_before_the_search() -> None:
    with pytest.raises(ValueError, match=r"needs a world model that has one; .* critic.steps=4000"):
        objective_of(world_model(), PlannerConfig(objective="critic"))


def test_doubt_means_something_to_a_critic_alone() -> None:
    with pytest.raises(ValueError, match="doubt"):
        objective_of(world_model(), PlannerConfig(doubt=1.0))


@pytest.fixture
def model() -> WorldModel:
    return world_model(critic=True)


def test_plans_are_searched_towards_fewer_steps(model: WorldModel) -> None:
    config = PlannerConfig(candidates=12, doubt=0.5)
    solver = make_solver(model, config)
    frames, actions, states = history(2, 2)
    context = model.observe(frames, actions, "pick can", states)
    plan = solver.plan(context)
    assert plan.actions_BHA.shape == (2, 4, 7)
    assert isinstance(solver.objective, StepsLeft) and solver.objective.doubt == 0.5


def test_steps_to_a_goal_are_those_of_its_frame_and_state(model: WorldModel) -> None:
    frames, actions, states = history(2, 2)
    context = model.observe(frames, actions, None, states)
    future = model.rollout(context, candidate_actions(2, 4, 3))
    pictures = np.random.default_rng(0).integers(0, 256, (2, *IMAGE, 3), np.uint8)
    alone = StepsToGoal(model, pictures)(context, future)
    felt = StepsToGoal(model, pictures, state=np.ones((2, P), np.float32))(context, future)
    first = StepsToGoal(model, pictures[0])(context, future)
    assert alone.shape == (2, 4) and not torch.equal(alone, felt)
    torch.testing.assert_close(first[0], alone[0])
    assert not torch.equal(first[1], alone[1])
    with pytest.raises(ValueError, match="2 goals but 1 rows"):
        one = model.observe(frames[:1], actions[:1], None, states[:1])
        StepsToGoal(model, pictures)(one, model.rollout(one, candidate_actions(1, 4, 3)))


def test_the_critic_of_a_model_reads_what_it_makes(model: WorldModel) -> None:
    assert critic_sizes(model).latent == CONFIG.latent
