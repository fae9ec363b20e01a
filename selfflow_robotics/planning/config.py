"""How a plan is searched, from keys that users type."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields, replace
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
    """How the planner searches, and how far ahead the joint policy acts.

    What is None is as suits the world model: :data:`BY_CRITIC` where it has a critic, else
    :data:`BY_PROGRESS`. See :func:`suited`.
    """

    solver: str | None = key(
        f"{', '.join(SOLVERS)}, or module:Class; adam descends the gradient; null, here as "
        "below: what suits the model, block-cem where it has a critic, else cem",
        None,
    )
    objective: str | None = key(
        f"what a plan costs: {', '.join(OBJECTIVES)}, or module:Class; null: critic or progress",
        None,
    )
    candidates: int | None = key("action sequences in an iteration; null: 64 or 8", None, least=1)
    iterations: int | None = key("at most so many; null: 3 or 1", None, least=1)
    horizon: int | None = key("steps imagined; null: 4 or 3", None, least=1)
    topk: int | None = key("elites of an iteration; null: 6 or 3", None, least=1)
    receding_horizon: int | None = key(
        "steps carried out of each plan; null: 2 or 1", None, least=1
    )
    warm_start: bool | None = key("start from the plan before; null: by a critic", None)
    hold: int | None = key("steps an action is held: block-cem; null: 2", None, least=1)
    start: Literal["nothing", "prior", "joint", "mixed"] | None = key(
        "search from rest, around the prior's guess, from the joint use's draws, or from all; "
        "null: the first of prior, joint and nothing that the model can do",
        None,
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
    initial_std: float | None = key(
        "of the first samples, normalised; null: 0.7 or 0.1", None, above=0
    )
    min_std: float | None = key("floor of the elites' deviation; null: 0.1 or 0.02", None)
    min_gain: float | None = key(
        "imagined cost a search must save to be followed; null: 0 or 0.05", None
    )
    doubt: float | None = key("critic: steps that a deviation of its heads costs; null: 1", None)
    discount: float = key("weight of an imagined frame to the one before it", 1.0, above=0)
    gripper_threshold: float | None = key(
        "weaker gripper commands keep it, others open or close", None, most=1
    )
    joint_horizon: int = key("steps the joint policy draws", 2, least=1)
    joint_receding_horizon: int = key("of these, carried out", 1, least=1)

    def __post_init__(self) -> None:
        require_name(self.solver or "cem", SOLVERS, "planner.solver")
        require_name(self.objective or "critic", OBJECTIVES, "planner.objective")

    @property
    def costing(self) -> dict[str, float]:
        """What objectives are made with; few have a doubt."""
        return {"discount": self.discount} | ({"doubt": self.doubt} if self.doubt else {})


BY_PROGRESS = PlannerConfig(
    solver="cem",
    objective="progress",
    candidates=8,
    iterations=1,
    horizon=3,
    topk=3,
    receding_horizon=1,
    warm_start=False,
    hold=1,
    initial_std=0.1,
    min_std=0.02,
    min_gain=0.05,
    doubt=0.0,
)
"""A search around a good prior's guess, of a model that tells how far a task has come."""

BY_CRITIC = PlannerConfig(
    solver="block-cem",
    objective="critic",
    candidates=64,
    iterations=3,
    horizon=4,
    topk=6,
    receding_horizon=2,
    warm_start=True,
    hold=2,
    initial_std=0.7,
    min_std=0.1,
    min_gain=0.0,
    doubt=1.0,
)
"""A search that needs no prior, of a model with a critic."""


def suited(config: PlannerConfig, world_model: WorldModel) -> PlannerConfig:
    """The settings with all that was left open as suits the model, and what was given.

    What the solver that was given does not have stays open; elites are no more than there are
    candidates, and no more is held or carried out than is imagined.
    """
    from selfflow_robotics.planning.search import Search

    preset = BY_PROGRESS if getattr(world_model, "critic", None) is None else BY_CRITIC
    found = {
        name: getattr(preset, name) if value is None else value
        for name, value in vars(config).items()
    }
    for name, most in (
        ("topk", "candidates"),
        ("hold", "horizon"),
        ("receding_horizon", "horizon"),
    ):
        if getattr(config, name) is None:
            found[name] = min(found[name], found[most])
    solver = named(found["solver"], SOLVERS, "planner.solver", Search)
    has = {setting.name for setting in fields(solver)}
    for name in _SETTINGS:
        if name not in has:
            found[name] = getattr(config, name)
    if config.doubt is None and found["objective"] != "critic":
        found["doubt"] = 0.0
    if config.start is None:
        found["start"] = "joint" if "refine" in has else _first_start(world_model)
    return replace(config, **found)


def _first_start(world_model: WorldModel) -> str:
    if world_model.prior is not None:
        return "prior"
    return "joint" if world_model.config.network.acts else "nothing"


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

    config = suited(config, world_model)
    solver: type[Search] = named(config.solver or "", SOLVERS, "planner.solver", Search)
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
    proposals = config.candidates or 1
    if config.start == "mixed":
        propose = Mixture(world_model.guess, (propose,)) if guesses else propose
        proposals = math.ceil(proposals / 4)
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
    config = suited(config, world_model)
    kind = named(config.objective or "", OBJECTIVES, "planner.objective")
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
