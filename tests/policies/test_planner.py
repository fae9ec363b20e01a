"""What the policies that carry out plans promise."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from selfflow_robotics.policies import EnvMapping, JointPolicy, PlannerPolicy, Policy, observe_env

from selfflow_robotics.planning import CEM

from .worlds import Dot, Pendulum, Shown, drawn

GOAL = 20.0


def reach(context: Any, rollout: Any) -> torch.Tensor:
    return (rollout.state_BKHP[..., 0] - GOAL).abs().sum(-1)


def planner(model: Dot, **how: Any) -> PlannerPolicy:
    return PlannerPolicy(model, CEM(model, reach, candidates=32, iterations=3), **how)


def play(policy: Policy, at: list[float], steps: int, size: tuple[int, int] = (8, 32)) -> Any:
    """Positions after, and actions of, all rows in step."""
    rows, taken = range(len(at)), []
    for _ in range(steps):
        taken.append(policy.act(drawn(*at, size=size), rows))
        at = [a + b for a, b in zip(at, taken[-1][:, 0].tolist(), strict=True)]
    return at, np.stack(taken, axis=1)


def test_reaches_the_goal_from_pictures_of_another_size() -> None:
    policy = planner(Dot())
    policy.reset([0, 1], [0, 1])
    at, _ = play(policy, [5.0, 28.0], 14, size=(32, 128))
    assert np.abs(np.array(at) - GOAL).max() < 1.5


@pytest.mark.parametrize("receding_horizon", [1, 2, 4])
def test_decides_once_every_receding_horizon_and_carries_out_the_plan(
    receding_horizon: int,
) -> None:
    model = Dot()
    policy = planner(model, receding_horizon=receding_horizon)
    policy.reset([0], [7])
    _, taken = play(policy, [5.0], 8)
    decisions = policy.decisions(0)
    assert [decision.step for decision in decisions] == list(range(0, 8, receding_horizon))
    assert len(model.seen) == len(decisions)
    planned = [decision.actions_HA[:receding_horizon] for decision in decisions]
    np.testing.assert_array_equal(np.concatenate(planned), taken[0])
    assert all(decision.seconds > 0 for decision in decisions)


def test_shows_the_model_true_history() -> None:
    model = Dot(history_len=3)
    policy = planner(model)
    policy.reset([0], [0])
    _, taken = play(policy, [5.0], 5)
    assert [seen.frames.shape[1] for seen in model.seen] == [1, 2, 3, 3, 3]
    np.testing.assert_array_equal(model.seen[-1].past_actions[0], taken[0, 2:4])


@pytest.mark.parametrize("kind", ["planner", "joint"])
@pytest.mark.parametrize("receding_horizon", [1, 3])
def test_a_row_acts_alike_alone_in_company_and_beside_rows_that_are_reset(
    kind: str, receding_horizon: int
) -> None:
    def make() -> Policy:
        model = Dot()
        if kind == "joint":
            return JointPolicy(model, receding_horizon=receding_horizon)
        return planner(model, receding_horizon=receding_horizon)

    together = make()
    together.reset([0, 1, 2], [10, 11, 12])
    actions: dict[int, list[Any]] = {0: [], 1: [], 2: []}
    at = {0: 4.0, 1: 9.0, 2: 26.0}
    for step in range(7):
        if step == 4:
            together.reset([1], [13])
            actions[1], at[1] = [], 15.0
        rows = [2, 0] if step == 2 else [0, 1, 2]
        chosen = together.act(drawn(*(at[row] for row in rows)), rows)
        for row, action in zip(rows, chosen, strict=True):
            actions[row].append(action)
            at[row] += float(action[0])

    for row, seed, first in ((0, 10, 4.0), (1, 13, 15.0), (2, 12, 26.0)):
        alone = make()
        alone.reset([0], [seed])
        _, expected = play(alone, [first], len(actions[row]))
        np.testing.assert_allclose(np.stack(actions[row]), expected[0], atol=1e-5)


def test_warm_start_makes_short_searches_better() -> None:
    def total(warm_start: bool) -> float:
        model = Dot()
        solver = CEM(model, reach, candidates=8, iterations=1, topk=2, initial_std=0.3)
        policy = PlannerPolicy(model, solver, warm_start=warm_start)
        policy.reset(range(16), range(16))
        at, _ = play(policy, [2.0] * 16, 6)
        return float(np.mean(at))

    assert total(True) > total(False) + 1


def test_another_seed_acts_otherwise_and_the_same_one_alike() -> None:
    def actions(seed: int) -> Any:
        policy = planner(Dot())
        policy.reset([0], [seed])
        return play(policy, [5.0], 3)[1]

    np.testing.assert_array_equal(actions(1), actions(1))
    assert not np.array_equal(actions(1), actions(2))


def test_imagines_what_it_last_decided() -> None:
    policy = planner(Dot(), receding_horizon=4)
    policy.reset([0, 3], [0, 1])
    at = [5.0, 30.0]
    for _ in range(2):
        action = policy.act(drawn(*at), [0, 3])
        imagined = policy.imagine(3).state_BKHP[0, 0, :, 0]
        at = [a + b for a, b in zip(at, action[:, 0].tolist(), strict=True)]
    assert imagined.shape == (4,)
    assert imagined[1] == pytest.approx(at[1], abs=1e-4)
    policy.reset([3], [1])
    with pytest.raises(ValueError, match="row 3 has not decided anything"):
        policy.imagine(3)


def test_the_joint_policy_carries_out_what_the_model_proposes() -> None:
    policy = JointPolicy(Dot(), horizon=4, receding_horizon=2)
    policy.reset([0, 1], [3, 4])
    _, taken = play(policy, [5.0, 5.0], 4)
    assert [decision.step for decision in policy.decisions(1)] == [0, 2]
    np.testing.assert_array_equal(policy.decisions(1)[1].actions_HA[:2], taken[1, 2:])
    assert not np.array_equal(taken[0], taken[1])
    assert policy.imagine(0).state_BKHP.shape == (1, 1, 4, 1)


def test_the_gripper_can_be_made_decisive() -> None:
    policy = JointPolicy(Dot(), gripper_threshold=0.5)
    policy.reset([0], [3])
    _, taken = play(policy, [5.0], 20)
    assert set(taken[0, :, 1].tolist()) == {-1.0, 0.0, 1.0}
    assert len(set(taken[0, :, 0].tolist())) == 20


def test_settings_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ValueError, match="receding_horizon is 0"):
        planner(Dot(), receding_horizon=0)
    with pytest.raises(ValueError, match="no action entry is named gripper"):
        PlannerPolicy(Pendulum(), CEM(Pendulum(), Pendulum.cost), gripper_threshold=0.5)
    policy = planner(Dot(), receding_horizon=5)
    policy.reset([0], [0])
    with pytest.raises(ValueError, match="plans are 4 steps long"):
        policy.act(drawn(5.0), [0])


def test_plans_in_other_peoples_environments() -> None:
    """Swings Gymnasium's pendulum up and holds it; hanging it returns -600, -384, -707, -955."""
    mapping = EnvMapping(image="camera", instruction=None, proprioception="sensors")
    model = Pendulum()
    solver = CEM(model, Pendulum.cost, candidates=64, iterations=3, horizon=15, max_seconds=5.0)
    policy = PlannerPolicy(model, solver)
    envs = SyncVectorEnv(
        [lambda: Shown(gymnasium.make("Pendulum-v1", max_episode_steps=120))] * 4,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    mapping.check(envs.single_observation_space, envs.single_action_space, 1)
    observation, _ = envs.reset(seed=[0, 1, 2, 3])
    rows, returns = range(4), np.zeros(4)
    policy.reset(rows, [0, 1, 2, 3])
    for _ in range(120):
        actions = policy.act(observe_env(observation, mapping), rows)
        mapped = mapping.to_environment(actions, envs.single_action_space)
        observation, reward, _, truncated, _ = envs.step(mapped)
        returns += reward
    envs.close()
    assert truncated.all()
    assert returns.min() > -300
    assert np.abs(observation["sensors"][:, 0] - 1).max() < 0.05
