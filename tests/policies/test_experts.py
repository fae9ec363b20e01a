"""Experts solve their tasks, gently, and recover from being pushed."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from selfflow_robotics.envs import TASKS
from selfflow_robotics.policies.experts import STEP, TURN, facing, make_expert, turn_towards


def run(env: Any, seed: int, noise: float = 0.0) -> tuple[bool, int]:
    """Plays an episode; returns success and number of steps."""
    env.reset(seed=seed)
    expert = make_expert(env)
    rng = np.random.default_rng(seed)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        action = expert.act()
        assert action.shape == (7,) and action.dtype == np.float32
        assert np.linalg.norm(action[:3]) <= STEP + 1e-6
        assert np.linalg.norm(action[3:6]) <= TURN + 1e-6
        action[:3] += rng.normal(0.0, noise, 3).astype(np.float32)
        *_, terminated, truncated, _ = env.step(action)
        steps += 1
    return terminated, steps


@pytest.mark.parametrize("task", TASKS)
def test_expert_succeeds(task: str) -> None:
    env = gymnasium.make(task, image_size=(8, 8))
    assert sum(run(env, seed)[0] for seed in range(5)) == 5


@pytest.mark.parametrize("task", TASKS[:4])
def test_expert_recovers_from_two_centimetres_of_noise(task: str) -> None:
    env = gymnasium.make(task, image_size=(8, 8))
    assert sum(run(env, seed, noise=0.02)[0] for seed in range(5)) >= 4


def test_expert_whose_gripper_was_shut_at_the_handle_lets_go_and_grips_it() -> None:
    env: Any = gymnasium.make("selfflow/OpenDrawer-v0", image_size=(8, 8)).unwrapped
    for seed in range(5):
        env.reset(seed=seed)
        expert = make_expert(env)
        for _ in range(24):
            action = expert.act()
            action[6] = 1.0  # it comes to the handle with nothing between the fingers
            assert not env.advance(action.clip(env.action_space.low, env.action_space.high))
        assert env.gripper_closed > 0.9
        done = (
            env.advance(expert.act().clip(env.action_space.low, env.action_space.high))
            for _ in range(12)
        )
        assert any(done)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_expert_succeeds_in_95_of_100_seeds(task: str) -> None:
    env = gymnasium.make(task, image_size=(8, 8))
    outcomes = [run(env, seed) for seed in range(100)]
    assert sum(success for success, _ in outcomes) >= 95


def test_turn_towards_is_the_axis_angle_between_orientations() -> None:
    turn = turn_towards(facing(0.2), facing(0.9))
    np.testing.assert_allclose(turn, [0.0, -0.7, 0.0], atol=1e-9)
    np.testing.assert_allclose(turn_towards(facing(0.3), facing(0.3)), 0.0, atol=1e-9)


def test_unknown_environment_has_no_expert() -> None:
    with pytest.raises(ValueError, match="CartPole"):
        make_expert(gymnasium.make("CartPole-v1"))
