"""Costs have the gradients that finite differences say, so that they can be descended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import IMAGE, candidate_actions, history, randn, world_model
from torch import Tensor

from selfflow_robotics.planning import (
    ActionMagnitude,
    ActionSmoothness,
    GoalFeatures,
    GoalImage,
    GoalLatents,
    Objective,
    Progress,
    Readout,
    WeightedSum,
)
from selfflow_robotics.world_model.probe import StateProbe
from selfflow_robotics.world_model.values import Context, Rollout

MODEL = world_model().requires_grad_(False)
PICTURE = np.random.default_rng(1).integers(0, 256, (*IMAGE, 3), dtype=np.uint8)
TOKENS = 8  # six of the image, an action, a state
PROBE = StateProbe(("x", "y"), 6, randn(3 * 32, 2, seed=5), torch.zeros(2), "", (None, None))


def imagined() -> tuple[Context, Rollout]:
    context = MODEL.observe(*history(2, 2)[:2], "pick can")
    return context, MODEL.rollout(context, candidate_actions(2, 2, 2))


def test_the_heads_have_the_gradients_of_finite_differences() -> None:
    double = world_model().requires_grad_(False).double()
    context, rollout = imagined()
    assert context.instruction_BD is not None
    context = replace(context, instruction_BD=context.instruction_BD.double())
    goal = randn(2, TOKENS, 32, seed=3).double()
    features = rollout.features_BKHMD.double().requires_grad_()

    def judged(head: Callable[[Rollout], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda given: head(replace(rollout, features_BKHMD=given))

    heads = (lambda r: double.progress(context, r), lambda r: double.steps_to_goal(r, goal))
    for head in heads:
        assert torch.autograd.gradcheck(judged(head), (features,), fast_mode=True)


@pytest.mark.parametrize(
    ("objective", "reads"),
    [
        (Progress(MODEL, 0.8), "features_BKHMD"),
        (GoalImage(MODEL, PICTURE, near=50.0), "features_BKHMD"),
        (GoalFeatures(MODEL, PICTURE), "features_BKHMD"),
        (GoalLatents(MODEL, PICTURE), "latents_BKHCHW"),
        (Readout(PROBE, {"x": 3.0, "y": 4.0}), "features_BKHMD"),
        (ActionMagnitude(MODEL.action_spec), "actions_BKHA"),
        (ActionSmoothness(MODEL.action_spec), "actions_BKHA"),
        (
            WeightedSum([(2.0, Progress(MODEL)), (1.0, Readout(PROBE, {"x": 1.0}))]),
            "features_BKHMD",
        ),
    ],
    ids=lambda value: type(value).__name__ if callable(value) else "",
)
def test_an_objective_has_the_gradient_of_finite_differences(
    objective: Objective, reads: str
) -> None:
    context, rollout = imagined()
    value = getattr(rollout, reads).clone().requires_grad_()
    (slope,) = torch.autograd.grad(
        objective(context, replace(rollout, **{reads: value})).sum(), value
    )
    way = slope / slope.norm()  # float32 sees the steepest way best
    step = 0.02 * float(value.detach().std())
    with torch.no_grad():
        above, below = (
            objective(context, replace(rollout, **{reads: value + sign * step * way})).double()
            for sign in (1, -1)
        )
    measured = float((above - below).sum()) / (2 * step)
    assert measured == pytest.approx(float(slope.norm()), rel=0.02)
    assert measured > 0
