"""Who acts by a world model in one episode, until an expert takes over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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

WIDELY = PlannerConfig(start="nothing", candidates=16, initial_std=0.5, min_gain=0.0)
"""How the planner of a model without a critic searches where no prior proposes anything."""


def novice_for(
    source: str, world_model: str, seed: np.random.SeedSequence, planner: PlannerConfig | None
) -> Novice:
    """Who acts in an episode of this source: a world model's prior, or its planner.

    Where `planner.start` is left open, its planner starts from nothing in half of the episodes.
    """
    if source == "intervened":
        return prior(world_model)
    word = int(seed.generate_state(2)[1])
    policy = _planner(world_model, planner, from_nothing(planner, word))
    policy.reset([0], [word])

    def act(seen: Mapping[str, Any]) -> NDArray[np.float32]:
        shown = Observations(
            seen["image"][None], (seen["instruction"],), seen["proprioception"][None]
        )
        return np.asarray(policy.act(shown, [0])[0])

    return act


def from_nothing(planner: PlannerConfig | None, word: int) -> bool:
    """Whether the planner of the episode with this seed starts from nothing."""
    return (planner is None or planner.start is None) and word % 2 == 1


def require_novices(
    sources: Sequence[str], world_model: str, planner: PlannerConfig | None
) -> None:
    """Refuse sources whose novice cannot be made.

    Raises:
        ValueError: no prior to act by, or a planner's setting that makes no sense.
    """
    model = WorldModel.from_pretrained(world_model)
    if "intervened" in sources and model.prior is None:
        raise ValueError(
            f"experts cannot take over from the policy prior of {world_model}, which has none; "
            "leave players.intervened out, or fit one: selfflow prior"
        )
    if {"planner", "alone"} & set(sources):
        for from_rest in (False, True):
            planner_of(model, planner, from_rest)


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


def planner_of(model: WorldModel, planner: PlannerConfig | None, from_rest: bool) -> Policy:
    """The planner, as configured; by default with the critic where the model has one.

    Around a prior that the model has not, it starts from nothing.

    Raises:
        ValueError: a setting that makes no sense.
    """
    config = planner or PlannerConfig()
    if from_rest or (model.prior is None and config.start in ("prior", None)):
        left_open = config == PlannerConfig() and model.critic is None
        config = WIDELY if left_open else replace(config, start="nothing")
    return make_policy("planner", model, None, config)


@cache
def _planner(world_model: str, planner: PlannerConfig | None, from_rest: bool) -> Policy:
    return planner_of(_model(world_model), planner, from_rest)


@cache
def _model(world_model: str) -> WorldModel:
    torch.set_num_threads(1)
    return WorldModel.from_pretrained(world_model)
