"""What an objective reads of a rollout, which not every world model imagines."""

from __future__ import annotations

from typing import Any

from torch import Tensor

_HELD = {
    "actions_BKHA": "the actions it was asked for",
    "features_BKHMD": "features of its frames",
    "latents_BKHCHW": "latents of its frames",
    "states_BKHP": "proprioception of its frames",
}


def imagined(rollout: Any, name: str, objective: str) -> Tensor:
    """The tensor of that name.

    Raises:
        ValueError: the rollout does not have it; the message names the objective.
    """
    found: Tensor | None = getattr(rollout, name, None)
    if found is None:
        raise ValueError(
            f"{objective} reads {_HELD[name]} from a rollout, but {type(rollout).__name__} has no "
            f"{name}; plan in a world model that keeps them, or towards another objective"
        )
    return found
