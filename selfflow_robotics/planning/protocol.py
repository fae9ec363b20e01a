"""What a planner needs to know of a world model, of a cost and of a solver.

Contexts and rollouts are opaque: the world model makes them, the objective reads them, the solver
only carries them from one to the other. MuJoCo itself or someone else's model can stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec

if TYPE_CHECKING:
    from selfflow_robotics.planning.plan import Plan

RowGenerators: TypeAlias = Sequence[torch.Generator]
"""One CPU random stream a row, so that what a row draws does not depend on the other rows."""


class Context(Protocol):
    """History of B environments, encoded once."""

    @property
    def batch(self) -> int:
        """B, the number of environments."""
        ...


class Dynamics(Protocol):
    """A world model, as a planner sees it."""

    @property
    def action_spec(self) -> ActionSpec:
        """Meaning, bounds and statistics of the actions that ``rollout`` takes."""
        ...

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Any:
        """Encode the history of B environments.

        Args:
            frames: (B, S, height, width, 3), oldest first.
            past_actions: (B, S-1, A), environment units; entry i was taken after frame i.
            instruction: one for all, one each, or none.
            states: (B, S, P) proprioception, or none.

        Returns:
            A :class:`Context`.
        """
        ...

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Any:
        """Imagine the K futures that K action sequences lead to, for each of B environments.

        Args:
            context: from ``observe``.
            actions_BKHA: environment units, float32 on CPU.
            generator: the random stream of each row, whose candidates best share what is drawn
                from it; a deterministic model ignores it.

        Returns:
            Whatever the objective reads. Where it has an integer attribute ``passes``, the plan
            adds these up.
        """
        ...


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
