"""Planning towards goals that are known only when an episode begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from selfflow_robotics.envs.late_goals import KeepOut, LateGoal, Picture
from torch import Tensor

from selfflow_robotics.planning.config import PlannerConfig, objective_of, suited
from selfflow_robotics.planning.objectives import GOALS
from selfflow_robotics.planning.objectives.box import DepthInBox
from selfflow_robotics.planning.objectives.constraint import Constraint
from selfflow_robotics.planning.objectives.weighted_sum import WeightedSum
from selfflow_robotics.registry import named

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

    from selfflow_robotics.planning.protocol import Objective
    from selfflow_robotics.world_model.world_model import WorldModel

_MARGIN = 0.02  # m kept from a box, for what imagination errs by
_WEIGHT = 2000.0  # of each metre less, averaged over the imagined frames
_AS_GOAL = {"critic": "critic", "progress": "steps"}  # objectives of the instruction, of a picture


class TowardsLateGoals:
    """What plans cost in environments each of whose episodes has a goal of its own.

    Args:
        world_model: imagines and judges.
        config: says what it costs not to carry out the instruction; of pictures it asks the same
            part of the model.
        envs: one a row; of them it reads what their episodes ask for, and nothing else.

    Raises:
        ValueError: the world model cannot tell what such goals ask for.
    """

    def __init__(
        self,
        world_model: WorldModel,
        config: PlannerConfig,
        envs: Sequence[gymnasium.Env[Any, Any]],
    ) -> None:
        self.world_model, self.config, self.envs = world_model, config, envs
        nowhere = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        black = np.zeros((*world_model.image_size, 3), np.uint8), np.zeros(8, np.float32)
        asks = envs[0].get_wrapper_attr("asks")
        self._cost = self._of([KeepOut(*nowhere) if asks is KeepOut else Picture(*black)])

    def stand_at(self, rows: Sequence[int]) -> None:
        """Let the next costs be those of what these rows ask for."""
        self._cost = self._of([self.envs[row].get_wrapper_attr("episode").late for row in rows])

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K)."""
        return self._cost(context, rollout)

    def _of(self, asked: Sequence[KeepOut | Picture]) -> Objective:
        model, config = self.world_model, self.config
        if boxes := [one for one in asked if isinstance(one, KeepOut)]:
            low, high = [box.low for box in boxes], [box.high for box in boxes]
            depth = DepthInBox(model.state_spec, low, high)
            limit = Constraint(depth, high=-_MARGIN, weight=_WEIGHT)
            return WeightedSum([(1.0, objective_of(model, config)), (1.0, limit)])
        kind_of_goal = _AS_GOAL.get(suited(config, model).objective or "")
        if kind_of_goal is None:
            raise ValueError(
                f"planner.objective={config.objective} costs what the instruction says, but some "
                f"of the tasks show a picture to reach; choose one of {', '.join(_AS_GOAL)}"
            )
        pictures = [one for one in asked if isinstance(one, Picture)]
        images = model.image_fit(np.stack([one.image for one in pictures]))
        states = np.stack([one.proprioception for one in pictures])
        kind = named(kind_of_goal, GOALS, "planner.objective")
        found: Objective = kind(model, images, state=states, **config.costing)
        return found


def late_goals(
    world_model: WorldModel, config: PlannerConfig, vector_env: VectorEnv[Any, Any, Any] | None
) -> TowardsLateGoals | None:
    """What plans cost in these environments; None where the instruction says it all."""
    envs = getattr(vector_env, "envs", ())
    if not envs or not isinstance(envs[0].unwrapped, LateGoal):
        return None
    return TowardsLateGoals(world_model, config, envs)
