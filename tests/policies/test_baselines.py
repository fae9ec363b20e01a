"""Policies that do not look."""

from __future__ import annotations

import numpy as np
import pytest
from selfflow_robotics.policies import Observations, Policy, RandomPolicy, ZeroPolicy

from selfflow_robotics.data.action_spec import RT1_ACTIONS


def blank(rows: int) -> Observations:
    return Observations(np.zeros((rows, 4, 4, 3), np.uint8), ("",) * rows, None)


@pytest.mark.parametrize("policy", [RandomPolicy(RT1_ACTIONS), ZeroPolicy(RT1_ACTIONS)])
def test_acts_inside_the_bounds(policy: Policy) -> None:
    policy.reset([0, 1, 2], [0, 1, 2])
    for _ in range(50):
        actions = policy.act(blank(3), [0, 1, 2])
        assert actions.shape == (3, 7) and actions.dtype == np.float32
        RT1_ACTIONS.check(actions, policy.name)


def test_zero_keeps_still() -> None:
    assert not ZeroPolicy(RT1_ACTIONS).act(blank(2), [0, 1]).any()


def test_random_rows_depend_on_their_seed_alone() -> None:
    together, alone = RandomPolicy(RT1_ACTIONS), RandomPolicy(RT1_ACTIONS)
    together.reset([0, 1], [5, 6])
    alone.reset([4], [6])
    for _ in range(3):
        both, one = together.act(blank(2), [0, 1]), alone.act(blank(1), [4])
        np.testing.assert_array_equal(both[1], one[0])
        assert not np.array_equal(both[0], both[1])


def test_random_covers_the_range_a_planner_searches() -> None:
    policy = RandomPolicy(RT1_ACTIONS)
    policy.reset([0], [0])
    actions = np.concatenate([policy.act(blank(1), [0]) for _ in range(2000)])
    np.testing.assert_allclose(actions.min(0), RT1_ACTIONS.q01, atol=0.01)
    np.testing.assert_allclose(actions.max(0), RT1_ACTIONS.q99, atol=0.01)
