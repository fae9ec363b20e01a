"""The planner that carries its candidates out: its frames are those that the task would show."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import selfflow_robotics.envs
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.policies import observe_env
from selfflow_robotics.policies.build import check_policies, make_policy

from selfflow_robotics import WorldModel
from selfflow_robotics.planning.config import PlannerConfig

TASK = "selfflow/CloseDrawer-v0"
CHEAP = PlannerConfig(candidates=3, horizon=2, topk=1)


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return WorldModel.from_pretrained("tabletop-small")


@pytest.fixture
def envs() -> Any:
    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.make(TASK, image_size=(64, 80))

    made = SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.DISABLED)
    yield made
    made.close()


def test_frames_of_candidates_are_those_that_the_task_shows(
    world_model: WorldModel, envs: Any
) -> None:
    policy: Any = make_policy("true-frames", world_model, envs, CHEAP)
    policy.reset([0, 1], [5, 6])
    seen = observe_env(envs.reset(seed=[5, 6])[0], EnvMapping())
    taken = policy.act(seen, [0, 1])
    before = [env.unwrapped.get_state().physics for env in envs.envs]
    policy.truth.stand_at([0, 1], [policy.decisions(row)[-1].window for row in (0, 1)])
    actions = torch.from_numpy(taken)[:, None, None].expand(-1, 2, 2, -1)
    rollout = policy.truth.rollout(None, actions)
    for env, state in zip(envs.envs, before, strict=True):
        np.testing.assert_array_equal(env.unwrapped.get_state().physics, state)
    envs.step(taken)
    shown = observe_env(envs.step(taken)[0], EnvMapping())
    truth = world_model.translation.latents(torch.from_numpy(shown.image)[:, None])
    assert rollout.states_BKHP is not None
    states = world_model.translation.states(shown.proprioception[:, None], 2, 1)
    for candidate in (0, 1):
        last = rollout.latents_BKHCHW[:, candidate, -1]
        torch.testing.assert_close(last, truth[:, 0], atol=1e-4, rtol=0)
        torch.testing.assert_close(rollout.states_BKHP[:, candidate, -1], states[:, 0])


def test_a_task_that_cannot_be_copied_is_refused_before_anything_is_played() -> None:
    check_policies(("true-frames",), selfflow_robotics.envs.TASKS)
    with pytest.raises(ValueError, match=r"true-frames does not know the task CartPole-v1;"):
        check_policies(("true-frames", "zero"), ("CartPole-v1",))
