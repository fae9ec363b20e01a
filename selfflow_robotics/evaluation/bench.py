"""Comparisons fixed beforehand, in which planning has something to gain."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from selfflow_robotics.planning.config import PlannerConfig

SEED = 2_000_000
"""Of the first episode of every bench. Nothing is trained or tuned from here on."""

Bench = Literal["no_prior", "prior_5", "prior_20", "shifted", "composed", "goals"]

_SINGLE = ("PickCokeCan", "MoveNear", "OpenDrawer", "CloseDrawer")
_LATE_GOALS = (
    *("PickCokeCanReach", "MoveNearPlace", "PickCokeCanAround"),
    *("OpenDrawerAround", "CloseDrawerAround", "CloseDrawerAbove"),
)
_KNOWING_NOTHING = ("random-choice", "shuffled", "random", "zero")
# What else there is to a search is as suits a model with a critic.
_SEARCH = PlannerConfig(objective="critic", start="prior", max_seconds=2.0)


@dataclass(frozen=True)
class Preset:
    """What a bench sets; what a command line sets otherwise goes before it."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]
    planner: PlannerConfig
    seed: int = SEED
    num_envs: int = 1  # so that a decision's time is one environment's
    prior: str = ""  # beside the world model
    places: Literal["usual", "shifted"] = "usual"


_OVER_PRIOR = ("planner", "prior", *_KNOWING_NOTHING, "true-frames", "oracle")
BENCHES: Mapping[str, Preset] = {
    "no_prior": Preset(
        _SINGLE,
        ("planner", *_KNOWING_NOTHING, "true-frames", "oracle"),
        replace(_SEARCH, start="nothing"),
    ),
    "prior_5": Preset(_SINGLE, _OVER_PRIOR, _SEARCH, prior="5"),
    "prior_20": Preset(_SINGLE, _OVER_PRIOR, _SEARCH, prior="20"),
    "shifted": Preset(_SINGLE, _OVER_PRIOR, _SEARCH, prior="20", places="shifted"),
    "composed": Preset(
        ("OpenDrawerAndPlace",),
        ("planner", "prior", *_KNOWING_NOTHING, "true-frames", "expert"),
        _SEARCH,
        prior="20",
    ),
    "goals": Preset(_LATE_GOALS, _OVER_PRIOR, _SEARCH),
}

_Config = TypeVar("_Config")


def benched(config: _Config, given: Collection[str] = ()) -> _Config:
    """A comparison as its bench sets it, where it has one.

    Keys that were given stay, as planner.candidates, and what differs from the defaults.
    """
    name = getattr(config, "bench", None)
    return config if name is None else _set(config, BENCHES[name], given)


def _set(config: Any, preset: Any, given: Collection[str], section: str = "") -> Any:
    usual = {field.name: field.default for field in fields(config)}
    changes = {}
    for field in fields(preset):
        name, now = field.name, getattr(config, field.name)
        value = getattr(preset, name)
        if isinstance(value, PlannerConfig):
            changes[name] = _set(now, value, given, f"{name}.")
        elif section + name not in given and now == usual[name]:
            changes[name] = value
    return replace(config, **changes)
