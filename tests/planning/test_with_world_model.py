"""The planner in the network itself, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.planning import (
    CEM,
    ICEM,
    MPPI,
    Adam,
    GoalImage,
    PolicyGuided,
    PredictiveSampling,
    Progress,
    WeightedSum,
)
from selfflow_robotics.planning.search import Search
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model
from selfflow_robotics.world_model.world_model import WorldModel

SIZE = (32, 32)


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    torch.manual_seed(0)
    model = build_world_model(
        ModelConfig(preset="tiny"),
        Patches(8),
        SIZE,
        RT1_ACTIONS,
        RT1_STATE,
        Vocabulary.of(["pick coke can"]),
    ).eval()
    for parameter in model.parameters():  # what starts as zeros would hide the actions
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def observed(model: WorldModel, rows: list[int]) -> Any:
    numbers = np.random.default_rng(0)
    frames = numbers.integers(0, 256, (3, 2, *SIZE, 3), dtype=np.uint8)
    actions = numbers.uniform(-0.1, 0.1, (3, 1, 7)).astype(np.float32)
    states = numbers.normal(size=(3, 2, 8)).astype(np.float32)
    return model.observe(frames[rows], actions[rows], "pick coke can", states[rows])


@pytest.mark.parametrize("name", ["progress", "goal image", "both"])
def test_a_batch_equals_single_plans(world_model: WorldModel, name: str) -> None:
    progress = Progress(world_model)
    goal = GoalImage(world_model, np.zeros((*SIZE, 3), np.uint8))
    objective = {
        "progress": progress,
        "goal image": goal,
        "both": WeightedSum([(1.0, progress), (0.1, goal)]),
    }[name]
    cem = CEM(world_model, objective, 6, 2, horizon=2, topk=3, propose=world_model.propose)
    together = cem.plan(observed(world_model, [0, 1, 2]), seeds=[7, 8, 9])
    for row in range(3):
        alone = cem.plan(observed(world_model, [row]), seeds=[7 + row])
        torch.testing.assert_close(
            alone.actions_BHA[0], together.actions_BHA[row], atol=1e-5, rtol=0
        )
    RT1_ACTIONS.check(together.actions_BHA.numpy(), "plan")
    assert together.passes > 0


@pytest.mark.parametrize("name", ["icem", "mppi", "predictive", "adam", "policy guided"])
def test_a_batch_equals_single_plans_of_every_solver(world_model: WorldModel, name: str) -> None:
    objective = Progress(world_model)
    size: Any = {"candidates": 5, "iterations": 2, "horizon": 2, "samples": 2, "pessimism": 0.5}
    solver: Search = {
        "icem": lambda: ICEM(world_model, objective, topk=2, **size),
        "mppi": lambda: MPPI(world_model, objective, topk=2, **size),
        "predictive": lambda: PredictiveSampling(world_model, objective, **size),
        "adam": lambda: Adam(world_model, objective, **size),
        "policy guided": lambda: PolicyGuided(
            world_model,
            objective,
            topk=2,
            propose=world_model.propose,
            refine=world_model.refine,
            **size,
        ),
    }[name]()
    together = solver.plan(observed(world_model, [0, 1]), seeds=[7, 8])
    for row in range(2):
        alone = solver.plan(observed(world_model, [row]), seeds=[7 + row])
        torch.testing.assert_close(
            alone.actions_BHA[0], together.actions_BHA[row], atol=1e-5, rtol=0
        )
    RT1_ACTIONS.check(together.actions_BHA.numpy(), "plan")
    assert (together.cost_B <= together.initial_cost_B).all()


def test_a_broken_network_is_an_error(world_model: WorldModel) -> None:
    context = observed(world_model, [0])
    head = dict(world_model.progress_head.named_parameters())
    kept = {name: value.detach().clone() for name, value in head.items()}
    try:
        for value in head.values():
            value.data.fill_(float("nan"))
        with pytest.raises(ValueError, match="row 0 has a finite cost"):
            CEM(world_model, Progress(world_model), 4, topk=2, horizon=1).plan(context)
    finally:
        for name, value in kept.items():
            head[name].data.copy_(value)
