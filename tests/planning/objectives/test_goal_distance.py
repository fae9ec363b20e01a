"""Likeness to a goal image, in features and in latents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import IMAGE, candidate_actions, history, world_model

from selfflow_robotics.planning import GoalFeatures, GoalImage, GoalLatents
from selfflow_robotics.world_model.values import Context, Rollout

MODEL = world_model()


def imagined(batch: int = 2) -> tuple[Context, Rollout]:
    context = MODEL.observe(*history(batch, 2)[:2])
    return context, MODEL.rollout(context, candidate_actions(batch, 3, 2))


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *IMAGE, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", [GoalFeatures, GoalLatents])
def test_the_goal_itself_costs_nothing_and_all_else_more(
    kind: type[GoalFeatures | GoalLatents],
) -> None:
    context, rollout = imagined()
    goals = pictures(2)
    features, latents = rollout.features_BKHMD.clone(), rollout.latents_BKHCHW.clone()
    features[:, 1] = MODEL.encode_goal(goals)[:, None]
    latents[:, 1] = MODEL.tokenizer.encode(torch.as_tensor(goals))[:, None]
    rollout = replace(rollout, features_BKHMD=features, latents_BKHCHW=latents)
    cost = kind(MODEL, goals)(context, rollout)
    torch.testing.assert_close(cost[:, 1], torch.zeros(2), atol=1e-6, rtol=0)
    assert (cost[:, [0, 2]] > 1e-3).all()


@pytest.mark.parametrize("kind", [GoalFeatures, GoalLatents])
def test_goals_are_one_for_all_or_one_a_row(kind: type[GoalFeatures | GoalLatents]) -> None:
    context, rollout = imagined()
    goals = pictures(2)
    both = kind(MODEL, goals)(context, rollout)
    for row in range(2):
        alone = kind(MODEL, goals[row])(context, rollout)
        torch.testing.assert_close(alone[row], both[row])
    with pytest.raises(ValueError, match=f"{kind.__name__} holds 3 goals but 2 rows"):
        kind(MODEL, pictures(3))(context, rollout)


def test_discount_looks_at_where_the_future_ends() -> None:
    context, rollout = imagined(1)
    last = replace(
        rollout,
        features_BKHMD=rollout.features_BKHMD[:, :, -1:],
        latents_BKHCHW=rollout.latents_BKHCHW[:, :, -1:],
    )
    for kind in (GoalFeatures, GoalLatents):
        late = kind(MODEL, pictures(1), discount=1e4)(context, rollout)
        torch.testing.assert_close(late, kind(MODEL, pictures(1))(context, last), rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", [GoalFeatures, GoalImage])
def test_a_goal_may_come_with_its_proprioception(kind: type[GoalFeatures | GoalImage]) -> None:
    goals, states = pictures(2), history(2, 2)[2][:, -1]
    objective = kind(MODEL, goals, state=states)
    torch.testing.assert_close(objective.goal_BMD, MODEL.encode_goal(goals, states))
    assert not torch.allclose(objective.goal_BMD, kind(MODEL, goals).goal_BMD)
    alone = kind(MODEL, goals[0], state=states[0]).goal_BMD
    torch.testing.assert_close(alone, objective.goal_BMD[:1])
    with pytest.raises(ValueError, match="2 goal images came with 1 states"):
        kind(MODEL, goals, state=states[0])


@pytest.mark.parametrize("kind", [GoalFeatures, GoalImage, GoalLatents])
def test_a_world_without_features_or_latents_is_a_clear_error(
    kind: type[GoalFeatures | GoalImage | GoalLatents],
) -> None:
    context, _ = imagined()
    with pytest.raises(ValueError, match=f"{kind.__name__} reads .* but object has no"):
        kind(MODEL, pictures(1))(context, object())
