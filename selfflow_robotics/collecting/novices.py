"""Who acts by a world model in one episode, until an expert takes over."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from selfflow_robotics.collecting.behaviours import Novice
from selfflow_robotics.envs.mapping import Observations
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.policies.base import Policy
from selfflow_robotics.policies.build import make_policy
from selfflow_robotics.world_model.world_model import WorldModel

AROUND_PRIOR = PlannerConfig()
AROUND_NOTHING = PlannerConfig(proposals=0, candidates=16, initial_std=0.5, min_gain=0.0)
"""How the planner searches where no prior proposes anything."""


def novice_for(source: str, world_model: str, seed: np.random.SeedSequence) -> Novice:
    """Who acts in an episode of this source: a world model's prior, or its planner.

    The planner searches around the model's prior in half of the episodes that have one.
    """
    if source == "intervened":
        return prior(world_model)
    word = int(seed.generate_state(2)[1])
    policy = _planner(world_model, around_prior=word % 2 == 0)
    policy.reset([0], [word])

    def act(seen: Mapping[str, Any]) -> NDArray[np.float32]:
        shown = Observations(
            seen["image"][None], (seen["instruction"],), seen["proprioception"][None]
        )
        return np.asarray(policy.act(shown, [0])[0])

    return act


@cache
def prior(world_model: str) -> Novice:
    """The policy prior of a world model, frame by frame."""
    model = _model(world_model)

    def act(seen: Mapping[str, Any]) -> NDArray[np.float32]:
        actions = model.react(
            seen["image"][None], seen["instruction"], seen["proprioception"][None]
        )
        return np.asarray(actions[0].numpy())

    return act


@cache
def _planner(world_model: str, around_prior: bool) -> Policy:
    model = _model(world_model)
    around_prior = around_prior and model.prior is not None
    return make_policy("planner", model, None, AROUND_PRIOR if around_prior else AROUND_NOTHING)


@cache
def _model(world_model: str) -> WorldModel:
    torch.set_num_threads(1)
    return WorldModel.from_pretrained(world_model)
