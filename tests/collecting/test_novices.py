"""Which planner acts where a world model is to fail."""

from __future__ import annotations

from typing import Any

import pytest
from selfflow_robotics.policies.planner import PlannerPolicy
from tiny_world import cells_model, world_model

from selfflow_robotics.collecting.novices import from_nothing, planner_of
from selfflow_robotics.planning.config import BY_CRITIC, PlannerConfig
from selfflow_robotics.planning.objectives.critic import StepsLeft
from selfflow_robotics.planning.solvers.block_cem import BlockCEM


def solver(*given: Any) -> Any:
    policy = planner_of(*given)
    assert isinstance(policy, PlannerPolicy)
    return policy.solver


def test_a_model_with_a_critic_is_searched_by_it() -> None:
    model = world_model(critic=True)
    found = solver(model, None, False)
    assert type(found) is BlockCEM and isinstance(found.objective, StepsLeft)
    assert found.propose == model.guess
    assert solver(model, None, True).propose is None
    assert solver(model, BY_CRITIC, True).propose is None


def test_what_was_asked_for_is_done_with_and_without_a_prior() -> None:
    asked = PlannerConfig(candidates=5, topk=2)
    model = world_model()
    assert solver(model, asked, False).candidates == 5
    assert solver(model, asked, False).propose == model.guess
    assert solver(model, asked, True).propose is None
    assert solver(model, None, True).candidates == 16
    model.prior = None
    assert solver(model, asked, False).propose is None


def test_a_critic_that_is_not_there_is_missed_at_once() -> None:
    with pytest.raises(ValueError, match="needs a world model that has one"):
        planner_of(cells_model(), BY_CRITIC, False)


def test_half_of_the_episodes_start_from_nothing_unless_told() -> None:
    told = PlannerConfig(start="prior")
    assert [from_nothing(None, word) for word in range(4)] == [False, True, False, True]
    assert from_nothing(PlannerConfig(candidates=4), 1)
    assert not from_nothing(told, 0) and not from_nothing(told, 1)
