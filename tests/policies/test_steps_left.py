"""The steps an expert still needs are those that it takes, from any state, in either sub-task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from selfflow_robotics.envs.simulation import simulation_of
from selfflow_robotics.policies.experts import STEP, TURN, make_expert
from selfflow_robotics.policies.steps_left import LONGEST, ExpertSteps, share_of_step


@pytest.mark.parametrize("task", ["PickCokeCan", "CloseDrawer", "OpenDrawerAndPlace"])
def test_each_of_an_experts_steps_is_one_less(task: str) -> None:
    env: Any = gymnasium.make(f"selfflow/{task}-v0", image_size=(16, 24), disable_env_checker=True)
    env.reset(seed=3)
    simulation, expert, left = simulation_of(env), make_expert(env), ExpertSteps(env)
    way, seen = left.way(simulation.save(), lambda env, action: action)
    first, taken, told, solved = len(way), [], [], False
    while not solved:
        if len(taken) in (2, 5):
            assert left(simulation.save()) == first - len(taken)
        told.append(simulation.env.instruction)
        taken.append(expert.act())
        _, solved, _ = simulation.play(taken[-1])
    assert len(taken) == first
    np.testing.assert_array_equal(seen, taken)
    assert (first > LONGEST) == (len(set(told)) == 2) == (task == "OpenDrawerAndPlace")
    # Each counts to the end of its own instruction, whose last step counts whole.
    opening = told.count(told[0])
    for part in filter(len, (way[:opening], way[opening:])):
        shares = -np.diff(part)
        assert part[-1] == 1.0 and shares.min() > 0.09 and shares.max() < 1.01


def test_nobody_knows_whether_an_instruction_was_carried_out_that_one_follows_in_vain() -> None:
    env: Any = gymnasium.make(
        "selfflow/OpenDrawerAndPlace-v0", image_size=(16, 24), disable_env_checker=True
    )
    env.reset(seed=0)
    inner = env.unwrapped
    inner.world.data.joint("apple").qpos[:3] = (-2.0, 0.2, 0.1)  # behind the cabinet
    way, _ = ExpertSteps(env).way(simulation_of(env).save())
    opened = int(np.isnan(way).sum())
    assert opened and np.isnan(way[:opened]).all() and np.isinf(way[opened:]).all()
    assert len(way) == opened + LONGEST and ExpertSteps(env)(simulation_of(env).save()) == np.inf


def test_a_lost_state_takes_for_ever() -> None:
    env: Any = gymnasium.make(
        "selfflow/PickCokeCan-v0", image_size=(16, 24), disable_env_checker=True
    )
    env.reset(seed=0)
    simulation = simulation_of(env)
    data = env.unwrapped.world.data
    data.joint("coke_can").qpos[:3] = (-2.0, 0.2, 0.1)  # behind the cabinet
    assert ExpertSteps(env)(simulation.save()) == np.inf


def test_a_step_counts_as_much_as_it_moves_turns_or_grips() -> None:
    env: Any = gymnasium.make("selfflow/CloseDrawer-v0", image_size=(16, 24))
    env.reset(seed=0)
    task = env.unwrapped
    assert task.gripper_closed < 0.1
    for action, share in (
        ([0.6 * STEP, 0, 0, 0, 0, 0, -1], 0.6),
        ([0.3 * STEP, 0, 0, 0, 0.5 * TURN, 0, -1], 0.5),
        ([0, 0, 0, 0, 0, 0, -1], 0.1),
        ([0, 0, 0, 0, 0, 0, 1], 1.0),
    ):
        assert share_of_step(task, np.array(action, np.float32)) == pytest.approx(share)


def test_nearer_to_the_can_less_is_left_though_as_many_steps() -> None:
    env: Any = gymnasium.make("selfflow/PickCokeCan-v0", image_size=(16, 24))
    env.reset(seed=0)
    simulation, expert, left = simulation_of(env), make_expert(env), ExpertSteps(env)
    for _ in range(2):
        simulation.play(expert.act())
    far, near = simulation.save(), expert.act()
    near[:6] *= 0.5
    simulation.play(near)
    before, after = (left.way(state)[0] for state in (far, simulation.save()))
    assert after[0] < before[0] - 0.3
