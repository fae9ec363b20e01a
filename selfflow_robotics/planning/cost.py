"""What one plan is to cost beside the instruction, from keys that users type."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from selfflow_robotics.planning.config import PlannerConfig, objective_of
from selfflow_robotics.planning.objectives import GOALS
from selfflow_robotics.registry import made, named, require_name
from selfflow_robotics.storage.keys import key

if TYPE_CHECKING:
    from selfflow_robotics.planning.protocol import Objective
    from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True)
class CostConfig:
    """Prices beside, or instead of, the progress of the instruction."""

    goal_as: str = key(
        f"what is left to the goal picture: {', '.join(GOALS)}, or module:Class", "steps"
    )
    probe: str | None = key("name beside the model, or folder, of a probe of the state", None)
    target: dict[str, float] = key("wanted state: cost.target.x=0.6 (m)", dict, least=None)
    low: dict[str, float] = key("least allowed values: cost.low.z=0.7", dict, least=None)
    high: dict[str, float] = key("greatest allowed values", dict, least=None)
    limit_weight: float = key(
        "price of one unit beyond what is allowed; inf forbids", 10.0, infinite=True
    )
    magnitude: float = key("price of large actions", 0.0)
    smoothness: float = key("price of changes of action", 0.0)

    def __post_init__(self) -> None:
        require_name(self.goal_as, GOALS, "cost.goal_as")


def make_objective(
    world_model: WorldModel,
    model_name: str,
    cost: CostConfig,
    goal: Path | None = None,
    planner: PlannerConfig | None = None,
) -> Objective:
    """The objective of a command line: instruction, picture or state, and prices on top.

    Args:
        model_name: what the world model was loaded by; probes lie beside it.
        goal: picture to reach.
        planner: what it costs not to carry out the instruction, and its discount.

    Raises:
        FileNotFoundError: no such picture or probe.
        ValueError: two goals at once, values to read but no probe, or a value that makes no sense.
    """
    from selfflow_robotics.planning import (
        ActionMagnitude,
        ActionSmoothness,
        Constraint,
        Readout,
        StateOf,
        WeightedSum,
    )
    from selfflow_robotics.world_model.probe import load_probe

    planner = planner or PlannerConfig()
    discount = planner.discount
    if (goal is not None or cost.target) and planner.objective is not None:
        raise ValueError(
            f"planner.objective={planner.objective} and a goal were given; plan towards one of them"
        )
    if goal is not None and cost.target:
        raise ValueError("a goal picture and cost.target were given; plan towards one of them")
    if cost.magnitude < 0 or cost.smoothness < 0:
        raise ValueError(
            f"cost.magnitude={cost.magnitude} and cost.smoothness={cost.smoothness} are prices; "
            "give 0 or more"
        )
    probe = None if cost.probe is None else load_probe(world_model, cost.probe, model_name)
    if probe is None and (cost.target or cost.low or cost.high):
        raise ValueError("to read the state out of imagined frames add cost.probe=NAME_OR_FOLDER")
    terms: list[tuple[float, Objective]] = []
    if goal is not None:
        terms.append((1.0, _reach(goal, world_model, cost.goal_as, planner)))
    elif cost.target and probe is not None:
        terms.append((1.0, Readout(probe, cost.target, discount=discount)))
    else:
        terms.append((1.0, objective_of(world_model, planner)))
    if probe is not None:
        for name in dict.fromkeys([*cost.low, *cost.high]):
            low, high = cost.low.get(name), cost.high.get(name)
            limit = Constraint(StateOf(probe, name), low, high, cost.limit_weight)
            terms.append((1.0, limit))
    if cost.magnitude:
        terms.append((cost.magnitude, ActionMagnitude(world_model.action_spec)))
    if cost.smoothness:
        terms.append((cost.smoothness, ActionSmoothness(world_model.action_spec)))
    return terms[0][1] if len(terms) == 1 else WeightedSum(terms)


def _reach(path: Path, world_model: WorldModel, goal_as: str, planner: PlannerConfig) -> Objective:
    """The objective of a picture, drawn to the size that the world model sees."""
    from selfflow_robotics.images.goal_picture import read_goal_picture

    picture = world_model.image_fit(read_goal_picture(path)[None])[0]
    kind = named(goal_as, GOALS, "cost.goal_as")
    objective: Objective = made(kind, "cost.goal_as", world_model, picture, **planner.costing)
    return objective
