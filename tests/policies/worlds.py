"""Two true worlds behind the planning protocol: a dot that is seen, and Gymnasium's pendulum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from selfflow_robotics.policies import Observations
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.images.fit import ImageFit
from selfflow_robotics.planning import RowGenerators


def spec(*names: str, bound: float) -> ActionSpec:
    low, high = (-bound,) * len(names), (bound,) * len(names)
    return ActionSpec(
        names, ("1",) * len(names), "world", "none", "relative", 1.0, low, high, low, high
    )


@dataclass(frozen=True)
class Seen:
    frames: NDArray[np.uint8]  # (B, S, height, width, 3)
    past_actions: NDArray[np.float32]  # (B, S-1, A)
    instruction: Any
    states: NDArray[np.float32] | None  # (B, S, P)

    @property
    def batch(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Imagined:
    state_BKHP: Tensor
    actions_BKHA: Tensor


class Dot:
    """A bright column in an image; actions move it sideways, in pixels, and work a gripper."""

    action_spec = step_spec = spec("x", "gripper", bound=2.0)
    image_fit = ImageFit((8, 32))

    def __init__(self, history_len: int = 3) -> None:
        self.history_len = history_len
        self.seen: list[Seen] = []

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Seen:
        assert frames.shape[1] <= self.history_len and frames.shape[2:] == (*self.image_fit.size, 3)
        assert past_actions.shape == (len(frames), frames.shape[1] - 1, 2)
        self.seen.append(Seen(frames, past_actions, instruction, states))
        return self.seen[-1]

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Imagined:
        column = torch.as_tensor(context.frames[:, -1, ..., 0]).float().sum(1)
        at = (column * torch.arange(32)).sum(1) / column.sum(1)
        moved = at[:, None, None] + actions_BKHA[..., 0].cumsum(dim=2)
        return Imagined(moved[..., None], actions_BKHA)

    def propose(
        self, context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
    ) -> Tensor:
        assert generator is not None
        return torch.stack(
            [torch.rand(candidates, horizon, 2, generator=g) * 4 - 2 for g in generator]
        )


def drawn(*at: float, size: tuple[int, int] = (8, 32), text: str = "") -> Observations:
    """Dots at these columns of a 32 column wide picture, drawn at any size."""
    images = np.zeros((len(at), *size, 3), np.uint8)
    scale = size[1] // 32
    for image, column in zip(images, at, strict=True):
        left = round(column) * scale
        image[:, left : left + scale] = 255
    return Observations(images, (text,) * len(at), None)


class Pendulum:
    """The dynamics of Pendulum-v1, as its documentation states them."""

    action_spec = step_spec = spec("torque", bound=2.0)
    history_len, image_fit = 1, ImageFit((4, 4))

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Seen:
        return Seen(frames, past_actions, instruction, states)

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Imagined:
        cos, sin, speed = torch.as_tensor(context.states[:, -1, :, None]).unbind(1)
        torque, states = actions_BKHA[..., 0], []
        angle, speed = (x.expand(torque.shape[:2]) for x in (torch.atan2(sin, cos), speed))
        for step in range(actions_BKHA.shape[2]):
            change = 15 * angle.sin() + 3 * torque[:, :, step]
            states.append(torch.stack([angle, speed], dim=-1))
            speed = (speed + 0.05 * change).clamp(-8, 8)
            angle = angle + 0.05 * speed
        return Imagined(torch.stack(states, dim=2), actions_BKHA)

    @staticmethod
    def cost(context: Any, rollout: Imagined) -> Tensor:
        """The negative return."""
        angle, speed = rollout.state_BKHP.unbind(-1)
        angle = torch.remainder(angle + torch.pi, 2 * torch.pi) - torch.pi
        torque = rollout.actions_BKHA[..., 0]
        return (angle**2 + 0.1 * speed**2 + 0.001 * torque**2).sum(-1)


class Shown(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose observation vector comes beside a (blank) camera image."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        camera = gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {"camera": camera, "sensors": env.observation_space}
        )

    def observation(self, observation: Any) -> dict[str, Any]:
        return {"camera": np.zeros((4, 4, 3), np.uint8), "sensors": observation}
