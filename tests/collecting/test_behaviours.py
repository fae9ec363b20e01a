from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from selfflow_robotics.envs.scene import COKE_CAN
from selfflow_robotics.policies.experts import make_expert

from selfflow_robotics.collecting.behaviours import (
    Perturbed,
    Planned,
    RandomPlay,
    behaviour_for,
    turn,
)

WANTED = np.array([0.05, 0.0, -0.02, 0.0, 0.1, 0.0, 1.0], np.float32)
STATE = np.array([0.44, -0.2, 0.97, 0.0, 1.0, 0.0, 0.0, 0.0], np.float32)


def played(source: str, seed: int, steps: int = 200) -> np.ndarray:
    behaviour = behaviour_for(source, np.random.default_rng(seed))
    return np.stack(
        [behaviour.act(lambda: WANTED.copy(), {"proprioception": STATE}) for _ in range(steps)]
    )


def test_expert_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(played("expert", 0), np.tile(WANTED, (200, 1)))


@pytest.mark.parametrize("source", ["perturbed", "random"])
def test_same_seed_same_actions(source: str) -> None:
    np.testing.assert_array_equal(played(source, 3), played(source, 3))
    assert not np.array_equal(played(source, 3), played(source, 4))


def test_perturbed_experts_stray_around_the_expert_and_recover() -> None:
    actions = np.concatenate([played("perturbed", seed) for seed in range(40)])
    np.testing.assert_array_equal(np.median(actions, axis=0), WANTED)
    disturbed = (actions != WANTED).any(axis=1)
    assert 0.15 < disturbed.mean() < 0.4
    assert 0.01 < actions[disturbed, 0].std() < 0.08
    assert 0.005 < (actions[:, 6] != 1.0).mean() < 0.06


def test_disturbances_stay_within_their_ranges() -> None:
    drawn = [Perturbed(np.random.default_rng(seed)) for seed in range(200)]
    assert 0.05 < max(d.displacement for d in drawn) <= 0.06
    assert 0.12 < max(d.rotation for d in drawn) <= 0.15
    assert 0.05 <= min(d.often for d in drawn) < max(d.often for d in drawn) <= 0.3


def test_the_expert_takes_over_from_a_novice_for_stretches() -> None:
    beginners = np.full(7, 0.01, np.float32)
    asked = 0

    def expert() -> np.ndarray:
        nonlocal asked
        asked += 1
        return WANTED

    shares = []
    for seed in range(20):
        behaviour = behaviour_for("intervened", np.random.default_rng(seed), lambda seen: beginners)
        actions = np.stack([behaviour.act(expert, {"proprioception": STATE}) for _ in range(100)])
        taken_over = (actions == WANTED).all(axis=1)
        assert ((actions == beginners).all(axis=1) | taken_over).all()
        assert not taken_over[0]
        changes = np.flatnonzero(np.diff(taken_over))
        assert 8 < len(changes) < 50
        shares.append(taken_over.mean())
    assert 0.2 < np.mean(shares) < 0.4
    assert asked == round(sum(shares) * 100)  # the expert is not asked while the novice acts


@pytest.mark.parametrize("source", ["wander", "shut"])
def test_who_strays_begins_and_ends_as_the_expert(source: str) -> None:
    begins = []
    for seed in range(60):
        strayed = np.flatnonzero((played(source, seed, 60) != WANTED).any(axis=1))
        assert 1 <= len(strayed) <= 12
        assert (np.diff(strayed) == 1).all()
        begins.append(strayed[0])
    assert np.mean(np.array(begins) < 14) > 0.6
    assert min(begins) == 0 and max(begins) > 20


def test_shut_on_nothing_drops_what_it_holds_first() -> None:
    open_hand = np.array([0.05, 0, 0, 0, 0.1, 0, -0.5], np.float32)
    for seed in range(10):
        for holding in (0.0, 1.0):
            behaviour = behaviour_for("shut", np.random.default_rng(seed))
            seen = {"proprioception": np.array([*STATE[:7], holding], np.float32)}
            gripper = [behaviour.act(lambda: open_hand, seen)[6] for _ in range(60)]
            strayed = [g for g in gripper if g != -0.5]
            assert strayed[0] == (-1.0 if holding else 1.0)
            assert all(g == 1.0 for g in strayed[1:])


def test_who_fumbles_shuts_beside_the_can_and_often_misses_it() -> None:
    env = gymnasium.make("selfflow/PickCokeCan-v0", image_size=(16, 24), disable_env_checker=True)
    task: Any = env.unwrapped
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    held = near = 0
    for seed in range(24):
        env.reset(seed=seed)
        expert = make_expert(env)
        behaviour: Any = behaviour_for("fumble", np.random.default_rng(seed))
        for step in range(25):
            before, astray = task.gripper_closed, behaviour._begin <= step < behaviour._end
            seen = {"proprioception": task.observe()["proprioception"]}
            if env.step(behaviour.act(expert.act, seen).clip(low, high))[2]:
                break
            if astray and before < 0.5 < task.gripper_closed:
                away = np.linalg.norm(task.thing_position(COKE_CAN) - task.tool_position)
                near += bool(away < 0.15)
                held += task.grasped(COKE_CAN.body)
    assert near > 10 and 0.1 * near < held < 0.7 * near


def test_a_planner_acts_for_a_stretch_and_then_the_expert_or_nobody() -> None:
    limits = []
    for seed in range(40):
        behaviour = behaviour_for(
            "planner", np.random.default_rng(seed), lambda seen: np.full(7, 0.01, np.float32)
        )
        assert isinstance(behaviour, Planned)
        actions = np.stack([behaviour.act(lambda: WANTED, {}) for _ in range(80)])
        planned = np.flatnonzero((actions != WANTED).any(axis=1))
        assert 10 <= len(planned) <= 25
        limits.append(behaviour.limit)
        assert behaviour.limit in (None, planned[-1] + 1)
    assert 10 < limits.count(None) < 30


def test_no_intervention_without_a_novice() -> None:
    with pytest.raises(ValueError, match="take over from a novice only"):
        behaviour_for("intervened", np.random.default_rng(0))


def test_random_play_gets_about_and_is_correlated() -> None:
    places, correlations = [], []
    for seed in range(20):
        play = RandomPlay(np.random.default_rng(seed))
        state = STATE.copy()
        moves = []
        for _ in range(40):
            action = play.act(lambda: WANTED, {"proprioception": state})
            state[:3] += action[:3]
            moves.append(action[:3])
            places.append(state[:3].copy())
        steps = np.stack(moves)
        correlations.append(np.corrcoef(steps[1:].ravel(), steps[:-1].ravel())[0, 1])
    assert np.mean(correlations) > 0.2
    spread = np.stack(places)
    assert (spread.std(axis=0) > 0.04).all()


@given(arrays(np.float64, 3, elements=st.floats(-1.5, 1.5)))
def test_turn_is_the_rotation_between_two_orientations(vector: np.ndarray) -> None:
    angle = float(np.linalg.norm(vector))
    axis = vector / max(angle, 1e-9)
    rotation = np.array([*(np.sin(angle / 2) * axis), np.cos(angle / 2)])
    np.testing.assert_allclose(turn(np.array([0, 0, 0, 1.0]), rotation), vector, atol=1e-6)
    np.testing.assert_allclose(turn(np.array([0, 0, 0, 1.0]), -rotation), vector, atol=1e-6)
    np.testing.assert_allclose(turn(rotation, np.array([0, 0, 0, 1.0])), -vector, atol=1e-6)


def test_turn_is_in_base_axes() -> None:
    half = np.sqrt(0.5)
    about_z = np.array([0, 0, half, half])
    then_about_x = np.array([0.5, -0.5, 0.5, 0.5])
    np.testing.assert_allclose(turn(about_z, then_about_x), [np.pi / 2, 0, 0], atol=1e-9)


def test_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match='nobody acts as "novice"; choose one of expert'):
        behaviour_for("novice", np.random.default_rng(0))
