"""The planner with the true dynamics: what a perfect world model would let it do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations
from selfflow_robotics.envs.shortfall import shortfall_of
from selfflow_robotics.envs.truth import TrueDynamics, summed_shortfall
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import RowGenerators, Solver
from selfflow_robotics.planning.solvers.cem import CEM
from selfflow_robotics.streams import derive_seed


@dataclass(frozen=True)
class OracleSearch:
    """How far and how finely CEM searches the tasks of this project in the truth."""

    candidates: int = 16
    iterations: int = 2
    horizon: int = 2  # actions, each held for `repeat` steps
    repeat: int = 2
    topk: int = 1  # the truth does not flatter: the best candidate is the best
    gripper_proposals: int = 2
    initial_std: float = 0.5
    min_std: float = 0.2
    shift: float = 0.1  # m; the arm hardly moves further in a step
    turn: float = 0.25  # rad


class OraclePolicy:
    """Plans in copies of the environments it acts in; looks into them, not at observations.

    Args:
        dynamics: of the environments, one a row.
        solver: searches in it; of each plan the first action is carried out.
    """

    name = "oracle"

    def __init__(self, dynamics: TrueDynamics, solver: Solver) -> None:
        self.dynamics, self.solver = dynamics, solver
        self.passes = 0  # control steps simulated so far
        self._seeds: dict[int, int] = {}
        self._steps: dict[int, int] = {}
        self._plans: dict[int, Plan] = {}

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""
        for row, seed in zip(rows, seeds, strict=True):
            self._seeds[row], self._steps[row] = seed, 0
            self._plans.pop(row, None)

    def act(self, observations: Observations | None, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`; observations are ignored."""
        due = [row for row in rows if self._steps[row] % self.dynamics.repeat == 0]
        if due:
            plan = self.solver.plan(
                self.dynamics.observe(rows=due),
                [self._plans.get(row) for row in due],
                executed=1,
                seeds=[derive_seed(self._seeds[row], self._steps[row]) for row in due],
            )
            self.passes += plan.passes
            for i, row in enumerate(due):
                self._plans[row] = plan.row(i)
        for row in rows:
            self._steps[row] += 1
        actions = [self._plans[row].actions_BHA[0, 0].numpy() for row in rows]
        return np.stack(actions).astype(np.float32)


def tabletop_oracle(
    envs: Sequence[gymnasium.Env[Any, Any]], search: OracleSearch | None = None
) -> OraclePolicy:
    """CEM towards the end of what is left of the task, for tasks of this project.

    Args:
        envs: one a row.
        search: how much; what is enough for most seeds when not given.

    Raises:
        ValueError: environments of another kind.
    """
    search = search or OracleSearch()
    most = (search.shift,) * 3 + (search.turn,) * 3 + (1.0,)
    spec = replace(RT1_ACTIONS, q01=tuple(-value for value in most), q99=most)
    dynamics = TrueDynamics(envs, spec, shortfall_of(envs[0]), search.repeat)
    solver = CEM(
        dynamics,
        summed_shortfall,
        candidates=search.candidates,
        iterations=search.iterations,
        horizon=search.horizon,
        topk=search.topk,
        initial_std=search.initial_std,
        min_std=search.min_std,
        propose=gripper_in_place,
        proposals=search.gripper_proposals,
    )
    return OraclePolicy(dynamics, solver)


def gripper_in_place(
    context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
) -> Tensor:
    """Closing and opening the gripper where it is, in turn: what noise in all entries seldom draws.

    See :class:`Propose`.
    """
    still_BKHA = torch.zeros(context.batch, candidates, horizon, RT1_ACTIONS.size)
    still_BKHA[:, 0::2, :, -1], still_BKHA[:, 1::2, :, -1] = 1.0, -1.0
    return still_BKHA
