"""A world model that imagines more carefully, or faster, than it does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.world_model.protocol import RowGenerators

if TYPE_CHECKING:
    from selfflow_robotics.world_model.world_model import WorldModel


class Denoising:
    """A :class:`Dynamics` whose rollouts take a given number of denoising steps.

    Args:
        world_model: imagines.
        steps: from noise to a frame, 1 or more.

    Example::

        CEM(Denoising(world_model, steps=4), Progress(world_model)).plan(context)
    """

    def __init__(self, world_model: WorldModel, steps: int) -> None:
        if steps < 1:
            raise ValueError(f"Denoising got steps={steps}; it must be 1 or more")
        self.world_model, self.steps = world_model, steps
        self.observe = world_model.observe

    @property
    def action_spec(self) -> ActionSpec:
        """That of the world model."""
        return self.world_model.action_spec

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Any:
        """As the world model does, in ``steps`` steps."""
        return self.world_model.rollout(context, actions_BKHA, self.steps, generator=generator)
