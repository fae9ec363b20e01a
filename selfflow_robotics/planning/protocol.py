"""What a planner needs to know of a cost, of a solver, and of what draws actions for it.

What it needs of a world model stands in :mod:`selfflow_robotics.world_model.protocol`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from torch import Tensor

from selfflow_robotics.world_model.protocol import Dynamics as Dynamics
from selfflow_robotics.world_model.protocol import RowGenerators as RowGenerators

if TYPE_CHECKING:
    from selfflow_robotics.planning.plan import Plan

Objective: TypeAlias = Callable[[Any, Any], Tensor]
"""``objective(context, rollout) -> (B, K)`` costs; lower is better, not finite is never chosen."""


class Propose(Protocol):
    """Draws action sequences worth judging, such as the joint video-action use of the network."""

    def __call__(
        self, context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
    ) -> Tensor:
        """(B, candidates, horizon, A), environment units."""
        ...


class Refine(Protocol):
    """Makes likely variations of given actions, as by going part of the way to noise and back."""

    def __call__(
        self,
        context: Any,
        actions_BKHA: Tensor,
        time: float,
        /,
        *,
        generator: RowGenerators | None,
    ) -> Tensor:
        """(B, K, H, A), environment units; the further from the given, the higher ``time``."""
        ...


class Solver(Protocol):
    """Searches for actions of low cost."""

    def plan(
        self,
        context: Any,
        previous: Plan | Sequence[Plan | None] | None = None,
        *,
        executed: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Plan:
        """Plan for every row of the context.

        Args:
            context: from ``observe``, B rows.
            previous: the plan before this one, to start from: for all rows, or one of a single row
                for each, None where a row has none.
            executed: how many actions of ``previous`` have been carried out since.
            seeds: a seed for each row; all 0 when not given. A row's plan is a function of its
                context, its previous plan and its seed alone.
        """
        ...
