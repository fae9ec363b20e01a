"""Policies by name: settings, tasks and users' own are checked before anything is played."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import pytest
from selfflow_robotics.envs import TASKS
from selfflow_robotics.policies.build import check_policies, make_policy

from selfflow_robotics import WorldModel
from selfflow_robotics.planning.config import PlannerConfig


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return WorldModel.from_pretrained("tabletop-small")


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("planner", PlannerConfig(receding_horizon=4), "planner.horizon=3 imagines"),
        ("joint", PlannerConfig(joint_receding_horizon=3), "draws are 2 steps long"),
        ("prior", PlannerConfig(gripper_threshold=1.5), "must lie in 0..1"),
        ("planner", PlannerConfig(initial_std=float("inf")), "both finite"),
    ],
)
def test_settings_are_refused_before_anything_is_played(
    world_model: WorldModel, name: str, config: PlannerConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_policy(name, world_model, None, config)


def test_a_policy_that_does_not_know_a_task_is_refused_before_anything_is_played() -> None:
    check_policies(("expert", "planner"), TASKS)
    check_policies(("planner", "random"), ("CartPole-v1",))
    with pytest.raises(ValueError, match=r"oracle does not know the task .*OpenDrawerAndPlace"):
        check_policies(("zero", "oracle"), TASKS)
    with pytest.raises(ValueError, match="expert does not know the task CartPole-v1;"):
        check_policies(("expert",), ("CartPole-v1", *TASKS))
    with pytest.raises(ValueError, match=r"the policy: policies=\[planner,zero\]$"):
        check_policies(("planner", "expert", "zero"), ("CartPole-v1",))


def test_a_model_that_only_imagines_has_no_joint_policy(world_model: WorldModel) -> None:
    config = world_model.config
    imagines = copy(world_model)
    imagines.config = replace(config, network=replace(config.network, markov=True))
    with pytest.raises(ValueError, match="has no joint policy; leave joint out"):
        make_policy("joint", imagines, None)
