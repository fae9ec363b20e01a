"""A world model that imagines more carefully, or faster, than it does by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.planning.protocol import Dynamics, RowGenerators


class Denoises(Dynamics, Protocol):
    """A world model, such as :class:`~selfflow_robotics.WorldModel`, that denoises its futures."""

    def rollout(
        self,
        context: Any,
        actions_BKHA: Tensor,
        steps: int = 1,
        *,
        generator: RowGenerators | None = None,
    ) -> Any:
        """See :class:`Dynamics`; ``steps`` lead from noise to a frame."""
        ...


class Denoising:
    """A :class:`Dynamics` whose rollouts take a given number of denoising steps.

    Args:
        world_model: imagines.
        steps: from noise to a frame, 1 or more.

    Example::

        CEM(Denoising(world_model, steps=4), Progress(world_model)).plan(context)
    """

    def __init__(self, world_model: Denoises, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"Denoising got steps={steps}; it must be 1 or more")
        self.world_model, self.steps = world_model, steps

    @property
    def action_spec(self) -> ActionSpec:
        """That of the world model."""
        return self.world_model.action_spec

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Any:
        """As the world model does."""
        return self.world_model.observe(frames, past_actions, instruction, states)

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Any:
        """As the world model does, in ``steps`` steps."""
        return self.world_model.rollout(context, actions_BKHA, self.steps, generator=generator)
