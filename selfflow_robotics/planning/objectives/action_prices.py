"""What actions cost by themselves, whatever they lead to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec

from .imagined import imagined


class ActionMagnitude:
    """The mean square of how far normalised actions are from doing nothing; 0 does nothing.

    An action at the edge of what is ever done (q01 or q99) is about 1 away.

    Args:
        action_spec: how actions are normalised; that of the world model.

    Example:
        >>> price = ActionMagnitude(world_model.action_spec)
        >>> objective = WeightedSum([(1.0, Progress(world_model)), (0.01, price)])
    """

    def __init__(self, action_spec: ActionSpec) -> None:
        self.action_spec = action_spec

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) of a rollout with ``actions_BKHA``.

        Raises:
            ValueError: the rollout does not hold its actions.
        """
        actions_BKHA = self.action_spec.normalize(
            imagined(rollout, "actions_BKHA", "ActionMagnitude")
        )
        rest_A = self.action_spec.normalize(actions_BKHA.new_zeros(actions_BKHA.shape[-1]))
        return (actions_BKHA - rest_A).square().mean(dim=(-2, -1))


class ActionSmoothness:
    """The mean square of the differences between successive normalised actions; 0 changes nothing.

    Where the context has ``last_action_BA``, the action executed last, the first difference is that
    to it; without it and at horizon 1 every candidate costs 0.

    Args:
        action_spec: how actions are normalised; that of the world model.

    Example:
        >>> ActionSmoothness(world_model.action_spec)(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(self, action_spec: ActionSpec) -> None:
        self.action_spec = action_spec

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K) of a rollout with ``actions_BKHA``.

        Raises:
            ValueError: the rollout does not hold its actions.
        """
        actions_BKHA = self.action_spec.normalize(
            imagined(rollout, "actions_BKHA", "ActionSmoothness")
        )
        last_BA: Tensor | None = getattr(context, "last_action_BA", None)
        if last_BA is not None:
            first = self.action_spec.normalize(last_BA.to(actions_BKHA))[:, None, None]
            first = first.expand(-1, actions_BKHA.shape[1], -1, -1)
            actions_BKHA = torch.cat((first, actions_BKHA), dim=2)
        if actions_BKHA.shape[2] == 1:
            return actions_BKHA.sum(dim=(-2, -1)) * 0.0
        return actions_BKHA.diff(dim=2).square().mean(dim=(-2, -1))
