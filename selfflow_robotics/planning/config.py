"""How a plan is searched, from keys that users type."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from selfflow_robotics.planning.objectives import OBJECTIVES
from selfflow_robotics.planning.solvers import SOLVERS
from selfflow_robotics.registry import made, named, require_name

if TYPE_CHECKING:
    from selfflow_robotics.planning.protocol import Objective, Propose
    from selfflow_robotics.planning.search import Search
    from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True)
class PlannerConfig:
    """How the planner searches, and how far ahead the joint policy acts."""

    solver: str = field(
        default="cem",
        metadata={"help": f"{', '.join(SOLVERS)}, or module:Class; adam descends the gradient"},
    )
    objective: str = field(
        default="progress",
        metadata={"help": f"what a plan costs: {', '.join(OBJECTIVES)}, or module:Class"},
    )
    candidates: int = field(
        default=8, metadata={"from": 1, "help": "action sequences in an iteration"}
    )
    iterations: int = field(default=1, metadata={"from": 1, "help": "at most so many"})
    horizon: int = field(default=3, metadata={"from": 1, "help": "steps imagined"})
    topk: int = field(default=3, metadata={"from": 1, "help": "elites of an iteration"})
    receding_horizon: int = field(
        default=1, metadata={"from": 1, "help": "steps carried out of each plan"}
    )
    warm_start: bool = field(default=False, metadata={"help": "start from the plan before"})
    start: Literal["prior", "joint"] = field(
        default="prior",
        metadata={"help": "search around the policy prior's guess, or from the joint use's draws"},
    )
    proposals: int | None = field(
        default=None, metadata={"help": "draws among the candidates; all but the start when null"}
    )
    samples: int = field(default=1, metadata={"from": 1, "help": "imagined futures a candidate"})
    pessimism: float = field(
        default=0.0,
        metadata={"help": "deviations of a candidate's imagined costs added to their mean"},
    )
    steps: int = field(default=1, metadata={"from": 1, "help": "denoising steps an imagined frame"})
    max_seconds: float | None = field(
        default=None, metadata={"above": 0, "help": "limit of a search"}
    )
    max_passes: int | None = field(
        default=None,
        metadata={"from": 1, "help": "network passes a search may imagine with, a row"},
    )
    initial_std: float = field(
        default=0.1, metadata={"above": 0, "help": "of the first samples, normalised"}
    )
    min_std: float = field(default=0.02, metadata={"help": "floor of the elites' deviation"})
    min_gain: float = field(
        default=0.05, metadata={"help": "imagined cost a search must save to be followed"}
    )
    discount: float = field(
        default=1.0,
        metadata={"above": 0, "help": "weight of an imagined frame to the one before it"},
    )
    gripper_threshold: float | None = field(
        default=None,
        metadata={"to": 1, "help": "weaker gripper commands keep it, others open or close"},
    )
    joint_horizon: int = field(
        default=2, metadata={"from": 1, "help": "steps the joint policy draws"}
    )
    joint_receding_horizon: int = field(
        default=1, metadata={"from": 1, "help": "of these, carried out"}
    )

    def __post_init__(self) -> None:
        require_name(self.solver, SOLVERS, "planner.solver")
        require_name(self.objective, OBJECTIVES, "planner.objective")


def make_solver(
    world_model: WorldModel, config: PlannerConfig, objective: Objective | None = None
) -> Search:
    """A solver in the world model, towards the configured objective or another.

    Raises:
        ValueError: a setting outside its range, or changed though the solver has none of the kind;
            or a solver or objective of the user's own that cannot be had.
    """
    from selfflow_robotics.planning.more_steps import Denoising
    from selfflow_robotics.planning.search import Search

    solver: type[Search] = named(config.solver, SOLVERS, "planner.solver", Search)
    settings = _settings(solver, config)
    propose: Propose = world_model.propose
    proposals = config.proposals
    if "refine" in {setting.name for setting in fields(solver)}:
        settings["refine"] = world_model.refine
    elif config.start == "prior" and world_model.prior is not None:
        propose, proposals = world_model.guess, 1
    elif proposals is None:
        proposals = config.candidates
    return solver(
        Denoising(world_model, config.steps) if config.steps != 1 else world_model,
        objective or objective_of(world_model, config),
        propose=None if proposals == 0 and "refine" not in settings else propose,
        proposals=proposals,
        **settings,
    )


def objective_of(world_model: WorldModel, config: PlannerConfig) -> Objective:
    """What plans cost that carry out the instruction; made with ``(world_model, discount=...)``."""
    kind = named(config.objective, OBJECTIVES, "planner.objective")
    objective: Objective = made(kind, "planner.objective", world_model, discount=config.discount)
    return objective


_SETTINGS = (
    *("candidates", "iterations", "horizon", "topk", "initial_std", "min_std", "min_gain"),
    *("samples", "pessimism", "max_seconds", "max_passes"),
)


def _settings(solver: type[Search], config: PlannerConfig) -> dict[str, Any]:
    """Those of the configuration's settings that the solver has."""
    known = {setting.name for setting in fields(solver)}
    defaults = PlannerConfig()
    for key in _SETTINGS:
        if key not in known and getattr(config, key) != getattr(defaults, key):
            raise ValueError(
                f"planner.{key}={getattr(config, key)} means nothing to "
                f"planner.solver={config.solver}; leave it out, or choose another solver"
            )
    return {key: getattr(config, key) for key in _SETTINGS if key in known}
