"""Solvers, and what a good future is to them; imported on first use, so that help is quick."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .judge import Judge as Judge
    from .mixture import Mixture as Mixture
    from .objectives.action_prices import ActionMagnitude as ActionMagnitude
    from .objectives.action_prices import ActionSmoothness as ActionSmoothness
    from .objectives.box import DepthInBox as DepthInBox
    from .objectives.constraint import Constraint as Constraint
    from .objectives.critic import StepsLeft as StepsLeft
    from .objectives.critic import StepsToGoal as StepsToGoal
    from .objectives.goal_distance import GoalFeatures as GoalFeatures
    from .objectives.goal_distance import GoalLatents as GoalLatents
    from .objectives.goal_image import GoalImage as GoalImage
    from .objectives.progress import Progress as Progress
    from .objectives.readout import Readout as Readout
    from .objectives.readout import StateOf as StateOf
    from .objectives.weighted_sum import WeightedSum as WeightedSum
    from .plan import Plan as Plan
    from .protocol import Dynamics as Dynamics
    from .protocol import Objective as Objective
    from .protocol import Propose as Propose
    from .protocol import Refine as Refine
    from .protocol import RowGenerators as RowGenerators
    from .protocol import Solver as Solver
    from .solvers.adam import Adam as Adam
    from .solvers.block_cem import BlockCEM as BlockCEM
    from .solvers.cem import CEM as CEM
    from .solvers.icem import ICEM as ICEM
    from .solvers.mppi import MPPI as MPPI
    from .solvers.policy_guided import PolicyGuided as PolicyGuided
    from .solvers.predictive import PredictiveSampling as PredictiveSampling

_HOME = {
    "judge": "Judge",
    "objectives.action_prices": "ActionMagnitude ActionSmoothness",
    "objectives.box": "DepthInBox",
    "objectives.constraint": "Constraint",
    "objectives.critic": "StepsLeft StepsToGoal",
    "objectives.goal_distance": "GoalFeatures GoalLatents",
    "objectives.goal_image": "GoalImage",
    "objectives.progress": "Progress",
    "objectives.readout": "Readout StateOf",
    "objectives.weighted_sum": "WeightedSum",
    "mixture": "Mixture",
    "plan": "Plan",
    "protocol": "Dynamics Objective Propose Refine RowGenerators Solver",
    "solvers.adam": "Adam",
    "solvers.block_cem": "BlockCEM",
    "solvers.cem": "CEM",
    "solvers.icem": "ICEM",
    "solvers.mppi": "MPPI",
    "solvers.policy_guided": "PolicyGuided",
    "solvers.predictive": "PredictiveSampling",
}


def __getattr__(name: str) -> Any:
    for home, names in _HOME.items():
        if name in names.split():
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
