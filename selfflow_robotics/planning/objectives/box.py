"""Where the tool is, as proprioception that is imagined with the frames says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import StateSpec

from .goals import for_each_row
from .imagined import imagined

_POSITION = ("x", "y", "z")


class DepthInBox:
    """How deep the tool is in a box at every imagined frame: what a :class:`Constraint` reads.

    The distance (m) to the nearest side, negative outside. Sides may be infinitely far away.

    Args:
        state_spec: of the world model, whose proprioception has x, y and z.
        low: least x, y, z of the box, (3,) for all rows or (B, 3), one a row.
        high: greatest, the same.

    Raises:
        ValueError: no such proprioception, other shapes, or a box without an inside.

    Example:
        >>> depth = DepthInBox(world_model.state_spec, (0.5, -0.1, 0.8), (0.6, 0.1, 1.0))
        >>> round_it = Constraint(depth, high=-0.02, weight=2000.0)  # 2 cm away from it
        >>> objective = WeightedSum([(1.0, Progress(world_model)), (1.0, round_it)])
    """

    def __init__(
        self,
        state_spec: StateSpec | None,
        low: Sequence[float] | Sequence[Sequence[float]],
        high: Sequence[float] | Sequence[Sequence[float]],
    ) -> None:
        if state_spec is None or not {*_POSITION} <= {*state_spec.names}:
            known = "none" if state_spec is None else ", ".join(state_spec.names)
            raise ValueError(
                f"where the tool is, x, y and z, is read from the world model's proprioception, of "
                f"which there is {known}; use a model trained with it"
            )
        self.state_spec = state_spec
        self.index = [state_spec.names.index(name) for name in _POSITION]
        bounds = [np.atleast_2d(np.asarray(bound, np.float32)) for bound in (low, high)]
        shapes = [bound.shape for bound in bounds]
        if shapes[0] != shapes[1] or shapes[0][1:] != (3,) or not (bounds[0] < bounds[1]).all():
            raise ValueError(f"DepthInBox got low={low} and high={high}; give x, y, z, low < high")
        self.low_B3, self.high_B3 = map(torch.from_numpy, bounds)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Depths (B, K, H) of a rollout with ``states_BKHP``."""
        states_BKHP = imagined(rollout, "states_BKHP", "DepthInBox").float()
        at_BKH3 = self.state_spec.denormalize(states_BKHP)[..., self.index]
        low_B3, high_B3 = (
            for_each_row(bound.to(at_BKH3), context, "DepthInBox")[:, None, None]
            for bound in (self.low_B3, self.high_B3)
        )
        return torch.minimum(at_BKH3 - low_B3, high_B3 - at_BKH3).amin(dim=-1)
