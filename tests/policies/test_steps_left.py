"""The steps an expert still needs are those that it takes, from any state, in either sub-task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from selfflow_robotics.envs.simulation import simulation_of
from selfflow_robotics.policies.experts import make_expert
from selfflow_robotics.policies.steps_left import LONGEST, ExpertSteps


@pytest.mark.parametrize("task", ["PickCokeCan", "CloseDrawer", "OpenDrawerAndPlace"])
def test_each_of_an_experts_steps_is_one_less(task: str) -> None:
    env: Any = gymnasium.make(f"selfflow/{task}-v0", image_size=(16, 24), disable_env_checker=True)
    env.reset(seed=3)
    simulation, expert, left = simulation_of(env), make_expert(env), ExpertSteps(env)
    first, seen = left.way(simulation.save(), lambda env, action: action)
    taken, solved = [], False
    while not solved:
        if len(taken) in (2, 5):
            assert left(simulation.save()) == first - len(taken)
        taken.append(expert.act())
        _, solved, _ = simulation.play(taken[-1])
    assert len(taken) == first
    np.testing.assert_array_equal(seen, taken)
    assert (first > LONGEST) == (task == "OpenDrawerAndPlace")  # two instructions


def test_a_lost_state_takes_for_ever() -> None:
    env: Any = gymnasium.make(
        "selfflow/PickCokeCan-v0", image_size=(16, 24), disable_env_checker=True
    )
    env.reset(seed=0)
    simulation = simulation_of(env)
    data = env.unwrapped.world.data
    data.joint("coke_can").qpos[:3] = (-2.0, 0.2, 0.1)  # behind the cabinet
    assert ExpertSteps(env)(simulation.save()) == np.inf
