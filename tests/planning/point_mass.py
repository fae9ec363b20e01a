"""A point that moves by its actions: a world model whose best plans are known."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.planning import RowGenerators


def spec(
    q01: Sequence[float],
    q99: Sequence[float],
    low: Sequence[float] | None = None,
    high: Sequence[float] | None = None,
) -> ActionSpec:
    size = len(q01)
    return ActionSpec(
        names=tuple(f"axis {i}" for i in range(size)),
        units=("m",) * size,
        frame="world, displacement",
        rotation="none",
        gripper="none",
        rate_hz=1.0,
        low=tuple(low or (-1.0,) * size),
        high=tuple(high or (1.0,) * size),
        q01=tuple(q01),
        q99=tuple(q99),
    )


@dataclasses.dataclass(frozen=True)
class At:
    position_BA: Tensor

    @property
    def batch(self) -> int:
        return len(self.position_BA)


@dataclasses.dataclass(frozen=True)
class Path:
    actions_BKHA: Tensor
    position_BKHA: Tensor
    noise_BK: Tensor
    passes: int


class PointMass:
    """position += action, exactly; may be slow; remembers what it was asked, and when."""

    def __init__(self, action_spec: ActionSpec, seconds: float = 0.0) -> None:
        self.action_spec, self.seconds = action_spec, seconds
        self.asked: list[Tensor] = []
        self.began: list[float] = []

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> At:
        assert states is not None
        return At(torch.as_tensor(states[:, -1], dtype=torch.float32))

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Path:
        self.began.append(time.perf_counter())
        time.sleep(self.seconds)
        self.asked.append(actions_BKHA.detach())
        position = context.position_BA[:, None, None] + actions_BKHA.cumsum(dim=2)
        noise = torch.zeros(actions_BKHA.shape[:2])
        if generator is not None:
            noise += torch.cat([torch.randn(1, 1, generator=g) for g in generator])
        return Path(actions_BKHA, position, noise, actions_BKHA.shape[:3].numel())


def start(batch: int, size: int = 2) -> At:
    return At(torch.zeros(batch, size))


class Effort:
    """Squared distance of the last position to a goal, and `price` times squared actions.

    Of a point at the origin the best actions are goal / (H + price), all alike.
    """

    def __init__(self, goal_BA: Tensor, price: float = 1.0) -> None:
        self.goal_BA, self.price = goal_BA, price

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        left = rollout.position_BKHA[:, :, -1] - self.goal_BA[:, None]
        return left.square().sum(-1) + self.price * rollout.actions_BKHA.square().sum((-1, -2))
