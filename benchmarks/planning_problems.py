"""The problems of `planning.py`: a point that moves by its actions, and what it should do.

Every problem has eight instances with goals of their own, in boxes of -1..1 an action entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec

INSTANCES = 8


@dataclass(frozen=True)
class At:
    """Rows of points at the origin."""

    batch: int


@dataclass(frozen=True)
class Path:
    """Where actions lead."""

    actions_BKHA: Tensor
    position_BKHA: Tensor
    passes: int


@dataclass(frozen=True)
class Problem:
    """What to do in a space of `size` dimensions within `horizon` steps.

    quadratic: squared distance to the goal after all steps, and effort; solved in closed form.
    obstacle: as quadratic, around a ball in the middle of the way.
    outside: every action has a target of its own, most of them two to three times out of bounds.
    momentum: as quadratic, for a point that keeps its velocity (a linear-quadratic regulator).
    """

    kind: Literal["quadratic", "obstacle", "outside", "momentum"]
    size: int
    horizon: int

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.kind}, {self.size} dimensions, {self.horizon} steps"

    def goals(self) -> Tensor:
        """(instances, A), fixed."""
        generator = torch.Generator().manual_seed(100 * self.size + self.horizon)
        direction = torch.randn(INSTANCES, self.size, generator=generator)
        goals: Tensor = direction / direction.norm(dim=1, keepdim=True) * 0.4 * self.horizon
        return goals

    def __call__(self, rows: Iterable[int]) -> Any:
        """The objective of some instances."""
        goal = self.goals()[list(map(int, rows))][:, None]

        def cost(context: Any, path: Path) -> Tensor:
            effort: Tensor = path.actions_BKHA.square().sum((-1, -2))
            if self.kind == "outside":
                wanted = 5 * goal[:, :, None] / self.horizon
                wanted = wanted * torch.linspace(1, 1.5, self.horizon)[:, None]
                apart: Tensor = (path.actions_BKHA - wanted).square().sum((-1, -2))
                return apart
            left: Tensor = (path.position_BKHA[:, :, -1] - goal).square().sum(-1)
            if self.kind != "obstacle":
                return left + 0.1 * effort
            clear = (path.position_BKHA - goal[:, :, None] / 2).norm(dim=-1)
            hit: Tensor = (0.1 * self.horizon - clear).clamp(min=0)
            return left + 0.1 * effort + 50 * hit.sum(-1)

        return cost


class PointMass:
    """A world model without error or cost."""

    def __init__(self, problem: Problem) -> None:
        self.problem, size = problem, problem.size
        self.action_spec = ActionSpec(
            names=tuple(f"axis {i}" for i in range(size)),
            units=("1",) * size,
            frame="world",
            rotation="none",
            gripper="none",
            rate_hz=1.0,
            low=(-1.0,) * size,
            high=(1.0,) * size,
            q01=(-1.0,) * size,
            q99=(1.0,) * size,
        )

    def observe(self, *history: Any) -> At:
        """Not needed: every point starts at the origin."""
        raise NotImplementedError

    def start(self, batch: int) -> At:
        """Rows of points at the origin."""
        return At(batch)

    def rollout(self, context: Any, actions_BKHA: Tensor, /, *, generator: Any = None) -> Path:
        """Exact."""
        moved = actions_BKHA.cumsum(dim=2)
        if self.problem.kind == "momentum":
            moved = 2 / self.problem.horizon * moved.cumsum(dim=2)
        return Path(actions_BKHA, moved, actions_BKHA.shape[:3].numel())

    def cost(self, actions_BHA: Tensor) -> Tensor:
        """(instances,) of one action sequence each."""
        path = self.rollout(self.start(INSTANCES), actions_BHA[:, None])
        cost: Tensor = self.problem(range(INSTANCES))(None, path)
        return cost[:, 0]


PROBLEMS = (
    Problem("quadratic", 2, 4),
    Problem("quadratic", 7, 4),
    Problem("quadratic", 4, 12),
    Problem("momentum", 2, 6),
    Problem("momentum", 7, 8),
    Problem("obstacle", 2, 6),
    Problem("obstacle", 2, 12),
    Problem("obstacle", 3, 8),
    Problem("outside", 2, 4),
    Problem("outside", 7, 4),
    Problem("outside", 3, 12),
    Problem("outside", 7, 8),
)
