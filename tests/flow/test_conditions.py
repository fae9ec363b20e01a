from __future__ import annotations

import pytest
import torch
from tiny_world import A, N, randn, world_model

from selfflow_robotics.flow.conditions import conditions_at
from selfflow_robotics.model.dit import Conditions, DiTConfig

B, T = 2, 3


@pytest.fixture(scope="module")
def network() -> DiTConfig:
    return world_model().config.network


def per_token(conditions: Conditions) -> torch.Tensor:
    times = conditions.timesteps_BTR.expand(B, T, -1)
    if conditions.row_BTM is None:
        return times.expand(-1, -1, N + 2)
    return times.gather(2, conditions.row_BTM.expand(B, T, -1))


@pytest.mark.parametrize(
    ("known", "time", "action_time", "state_known", "expected", "rows"),
    [
        (True, 0.5, 0.0, True, (0.5, 0.0, 0.5), 2),  # a frame imagined
        (True, 0.0, 0.0, True, (0.0, 0.0, 0.0), 1),  # clean
        (False, 0.5, 0.5, True, (0.5, 0.5, 0.5), 1),  # proposing
        (False, 0.0, 0.0, False, (0.0, 1.0, 1.0), 2),  # a goal
    ],
)
def test_only_timesteps_in_use_are_rows(
    network: DiTConfig,
    known: bool,
    time: float,
    action_time: float,
    state_known: bool,
    expected: tuple[float, float, float],
    rows: int,
) -> None:
    action = randn(B, T, A, seed=0)
    unknown = () if state_known else ("proprioception",)
    made = conditions_at(network, action, known, time, action_time=action_time, unknown=unknown)
    assert made.timesteps_BTR.shape[-1] == rows
    times = torch.tensor([expected[0]] * N + list(expected[1:]))
    assert torch.equal(per_token(made), times.expand(B, T, -1))
    assert (made.action_BTA is None) == (not known)


def test_an_action_known_in_some_frames_only_is_unknown_in_the_others(network: DiTConfig) -> None:
    known = torch.tensor([[False, True, True], [False, False, True]])
    made = conditions_at(network, randn(B, T, A, seed=0), known, 0.0)
    assert torch.equal(per_token(made)[..., N], (~known).float())
    assert not per_token(made)[..., :N].any()
    assert made.action_known_BT is not None
    assert torch.equal(made.action_known_BT, known.float())
