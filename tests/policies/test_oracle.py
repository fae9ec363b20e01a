"""The planner with true dynamics, in the tasks, through the evaluation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv
from selfflow_robotics.envs.shortfall import shortfall_of
from selfflow_robotics.policies.build import make_policy
from selfflow_robotics.policies.oracle import OracleSearch, tabletop_oracle

from selfflow_robotics.evaluation.evaluate import evaluate

FEW = OracleSearch(candidates=4, iterations=1, horizon=1, repeat=1, topk=2)


def make(task: str, seed: int) -> Any:
    env = gymnasium.make(f"selfflow/{task}-v0", image_size=(8, 8))
    env.reset(seed=seed)
    return env


@pytest.mark.parametrize("task", ["OpenDrawer", "CloseDrawer", "MoveNear", "PickCokeCan"])
def test_a_few_guesses_bring_the_task_nearer(task: str) -> None:
    env = make(task, 1)
    left = shortfall_of(env)
    before = left(env.unwrapped)
    policy = tabletop_oracle([env], OracleSearch(16, 1, 1, 2, 4))
    policy.reset([0], [1])
    for _ in range(4):
        env.step(policy.act(None, [0])[0])
    assert left(env.unwrapped) < before - 0.04


def test_a_row_decides_as_it_does_alone() -> None:
    envs = [make("MoveNear", seed) for seed in (3, 4)]
    both = tabletop_oracle(envs, FEW)
    both.reset([0, 1], [3, 4])
    together = both.act(None, [0, 1])
    alone = tabletop_oracle([envs[1]], FEW)
    alone.reset([0], [4])
    np.testing.assert_array_equal(alone.act(None, [0])[0], together[1])


def test_each_action_is_held() -> None:
    env = make("CloseDrawer", 0)
    policy = tabletop_oracle([env], OracleSearch(4, 1, 1, 2, 2))
    policy.reset([0], [0])
    actions, passes = [], []
    for _ in range(4):
        actions.append(policy.act(None, [0])[0])
        passes.append(policy.passes)
        env.step(actions[-1])
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[2], actions[3])
    assert 0 < passes[0] == passes[1] < passes[2] == passes[3]  # planned twice
    assert policy.passes <= 2 * 5 * 2  # two plans of four candidates and their mean, held twice


def test_environments_out_of_reach_are_refused() -> None:
    apart = AsyncVectorEnv([lambda: gymnasium.make("Pendulum-v1")])
    with pytest.raises(ValueError, match="AsyncVectorEnv keeps in other processes"):
        make_policy("oracle", None, apart)
    apart.close()
    with pytest.raises(ValueError, match="no shortfall is known of PendulumEnv"):
        tabletop_oracle([gymnasium.make("Pendulum-v1")])


@pytest.mark.slow
@pytest.mark.parametrize("task", ["OpenDrawer", "CloseDrawer", "MoveNear", "PickCokeCan"])
def test_it_solves_the_task(task: str) -> None:
    found = evaluate(
        f"selfflow/{task}-v0",
        lambda envs: make_policy("oracle", None, envs),
        [1],
        image_size=(8, 8),
    )
    assert found.episodes[0].success and found.policy == "oracle"
