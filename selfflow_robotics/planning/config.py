"""How a plan is searched, from keys that users type."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from selfflow_robotics.planning.objectives import OBJECTIVES
from selfflow_robotics.planning.solvers import SOLVERS
from selfflow_robotics.registry import made, named, require_name
from selfflow_robotics.storage.keys import key

if TYPE_CHECKING:
    from selfflow_robotics.planning.judge import Judge
    from selfflow_robotics.planning.protocol import Objective, Propose
    from selfflow_robotics.planning.search import Search
    from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True)
class PlannerConfig:
    """How the planner searches, and how far ahead the joint policy acts."""

    solver: str = key(f"{', '.join(SOLVERS)}, or module:Class; adam descends the gradient", "cem")
    objective: str = key(f"what a plan costs: {', '.join(OBJECTIVES)}, or module:Class", "progress")
    candidates: int = key("action sequences in an iteration", 8, least=1)
    iterations: int = key("at most so many", 1, least=1)
    horizon: int = key("steps imagined", 3, least=1)
    topk: int = key("elites of an iteration", 3, least=1)
    receding_horizon: int = key("steps carried out of each plan", 1, least=1)
    warm_start: bool = key("start from the plan before", False)
    hold: int = key("steps an action is held: block-cem", 1, least=1)
    start: Literal["nothing", "prior", "joint", "mixed"] = key(
        "search from rest, around the prior's guess, from the joint use's draws, or from all",
        "prior",
    )
    proposals: int | None = key(
        "draws among the candidates; when null, a quarter of a mixed start, else all but the start",
        None,
    )
    samples: int = key("imagined futures a candidate", 1, least=1)
    pessimism: float = key("deviations of a candidate's imagined costs added to their mean", 0.0)
    steps: int = key("denoising steps an imagined frame", 1, least=1)
    max_seconds: float | None = key("limit of a search", None, above=0)
    max_passes: int | None = key("network passes a search may imagine with, a row", None, least=1)
    initial_std: float = key("of the first samples, normalised", 0.1, above=0)
    min_std: float = key("floor of the elites' deviation", 0.02)
    min_gain: float = key("imagined cost a search must save to be followed", 0.05)
    doubt: float = key("critic: steps that a deviation of its heads costs", 0.0)
    discount: float = key("weight of an imagined frame to the one before it", 1.0, above=0)
    gripper_threshold: float | None = key(
        "weaker gripper commands keep it, others open or close", None, most=1
    )
    joint_horizon: int = key("steps the joint policy draws", 2, least=1)
    joint_receding_horizon: int = key("of these, carried out", 1, least=1)

    def __post_init__(self) -> None:
        require_name(self.solver, SOLVERS, "planner.solver")
        require_name(self.objective, OBJECTIVES, "planner.objective")

    @property
    def costing(self) -> dict[str, float]:
        """What objectives are made with; few have a doubt."""
        return {"discount": self.discount} | ({"doubt": self.doubt} if self.doubt else {})


BY_CRITIC = PlannerConfig(
    solver="block-cem",
    objective="critic",
    candidates=64,
    iterations=3,
    horizon=4,
    topk=6,
    hold=2,
    initial_std=0.7,
    min_std=0.1,
    min_gain=0.0,
)
"""A search that needs no prior, of a model with a critic."""


def make_solver(
    world_model: WorldModel,
    config: PlannerConfig,
    objective: Objective | None = None,
    judging: type[Judge] | None = None,
) -> Search:
    """A solver in the world model, towards the configured objective or another.

    `judging` prices candidates in the place of :class:`Judge`.

    Raises:
        ValueError: a setting outside its range, or changed though the solver has none of the kind;
            or a solver or objective of the user's own that cannot be had.
    """
    from selfflow_robotics.planning.judge import Judge
    from selfflow_robotics.planning.more_steps import Denoising
    from selfflow_robotics.planning.search import Search

    solver: type[Search] = named(config.solver, SOLVERS, "planner.solver", Search)
    settings = _settings(solver, config)
    propose, proposals = _start(world_model, config)
    if "refine" in {setting.name for setting in fields(solver)}:
        if config.start in ("nothing", "mixed"):
            raise ValueError(
                f"planner.start={config.start} means nothing to planner.solver={config.solver}, "
                "which starts from the joint use's draws; leave it out, or choose another solver"
            )
        _require_draws(world_model, config)
        settings["refine"] = world_model.refine
        propose, proposals = world_model.propose, config.proposals
    return solver(
        Denoising(world_model, config.steps) if config.steps != 1 else world_model,
        objective or objective_of(world_model, config),
        propose=propose,
        proposals=proposals,
        judging=judging or Judge,
        **settings,
    )


def _start(world_model: WorldModel, config: PlannerConfig) -> tuple[Propose | None, int | None]:
    """What draws proposals, and how many of the candidates."""
    from selfflow_robotics.planning.mixture import Mixture

    guesses = world_model.prior is not None
    if config.start == "nothing":
        return None, None
    if config.start == "prior" and guesses:
        return world_model.guess, 1
    _require_draws(world_model, config)
    propose: Propose = world_model.propose
    proposals = config.candidates
    if config.start == "mixed":
        propose = Mixture(world_model.guess, (propose,)) if guesses else propose
        proposals = math.ceil(config.candidates / 4)
    proposals = proposals if config.proposals is None else config.proposals
    return (propose, proposals) if proposals else (None, None)


def _require_draws(world_model: WorldModel, config: PlannerConfig) -> None:
    """Refuse a search that would draw from the joint use of a model that has none."""
    if not world_model.config.network.acts:
        lacking = "" if world_model.prior is not None else " and it has no policy prior"
        raise ValueError(
            f"planner.start={config.start} with planner.solver={config.solver} draws actions from "
            f"the model, but this one only imagines{lacking}; give planner.start=nothing and "
            "another solver than policy-guided"
        )


def objective_of(world_model: WorldModel, config: PlannerConfig) -> Objective:
    """What plans cost that carry out the instruction; made with ``(world_model, discount=...)``."""
    kind = named(config.objective, OBJECTIVES, "planner.objective")
    if config.doubt and "doubt" not in inspect.signature(kind).parameters:
        raise ValueError(
            f"planner.doubt={config.doubt} means nothing to planner.objective={config.objective}, "
            "which has no heads that differ; leave it out, or say planner.objective=critic"
        )
    objective: Objective = made(kind, "planner.objective", world_model, **config.costing)
    return objective


_SETTINGS = (
    *("candidates", "iterations", "horizon", "hold", "topk", "initial_std", "min_std", "min_gain"),
    *("samples", "pessimism", "max_seconds", "max_passes"),
)


def _settings(solver: type[Search], config: PlannerConfig) -> dict[str, Any]:
    """Those of the configuration's settings that the solver has."""
    known = {setting.name for setting in fields(solver)}
    defaults = PlannerConfig()
    for name in _SETTINGS:
        if name not in known and getattr(config, name) != getattr(defaults, name):
            raise ValueError(
                f"planner.{name}={getattr(config, name)} means nothing to "
                f"planner.solver={config.solver}; leave it out, or choose another solver"
            )
    return {name: getattr(config, name) for name in _SETTINGS if name in known}
