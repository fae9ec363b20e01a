"""Planning towards goals of each episode's own: a row's cost is that of its goal."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.policies import observe_env
from selfflow_robotics.policies.build import make_policy

from selfflow_robotics import WorldModel
from selfflow_robotics.planning.config import PlannerConfig

CHEAP = PlannerConfig(candidates=4, horizon=2, topk=1, initial_std=0.5, min_gain=0.0)
REACH, ABOVE = "selfflow/PickCokeCanReach-v0", "selfflow/CloseDrawerAbove-v0"


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return WorldModel.from_pretrained("tabletop-small")


@pytest.fixture(params=[REACH, ABOVE])
def envs(request: pytest.FixtureRequest) -> Iterator[Any]:
    make = partial(gymnasium.make, request.param, image_size=(64, 80))
    made = SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.DISABLED)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["planner", "true-frames"])
def test_a_row_s_plan_is_that_of_its_goal_whoever_plans_beside_it(
    world_model: WorldModel, envs: Any, name: str
) -> None:
    seen = observe_env(envs.reset(seed=[5, 6])[0], EnvMapping())
    acted = []
    for rows in ([0, 1], [0], [1]):
        policy: Any = make_policy(name, world_model, envs, CHEAP)
        policy.reset([0, 1], [5, 6])
        told = tuple(seen.instruction[row] for row in rows)
        felt = None if seen.proprioception is None else seen.proprioception[rows]
        acted.append(policy.act(type(seen)(seen.image[rows], told, felt), rows))
    np.testing.assert_allclose(acted[0], np.concatenate(acted[1:]), atol=1e-5)


def test_what_leads_to_the_goal_costs_less(world_model: WorldModel, envs: Any) -> None:
    policy: Any = make_policy("true-frames", world_model, envs, CHEAP)
    policy.reset([0, 1], [5, 6])
    seen = observe_env(envs.reset(seed=[5, 6])[0], EnvMapping())
    reaches = envs.envs[0].spec.id == REACH
    policy.history.see(seen, [0, 1])
    windows = [policy.history.window([row]) for row in (0, 1)]
    policy.truth.stand_at([0, 1], windows)
    policy.goals.stand_at([0, 1])
    ways = torch.zeros(2, 2, 16, 7)  # to the picture, or into the box; and rest
    for row, env in enumerate(envs.envs):
        late, tool = env.unwrapped.episode.late, env.unwrapped.tool_position
        place = late.proprioception[:3] if reaches else (*tool[:2], late.high[2] - 0.1)
        ways[row, 0, :, :3] = torch.tensor((place - tool) / 16)
    context = policy._observe(policy.history.window([0, 1]))
    cost_BK = policy.goals(context, policy.truth.rollout(context, ways))
    assert ((cost_BK[:, 0] < cost_BK[:, 1]) == reaches).all()


def test_a_plain_task_costs_what_its_instruction_says(world_model: WorldModel) -> None:
    envs = SyncVectorEnv([partial(gymnasium.make, "selfflow/CloseDrawer-v0")])
    policy: Any = make_policy("planner", world_model, envs, CHEAP)
    assert policy.goals is None
    envs.close()
