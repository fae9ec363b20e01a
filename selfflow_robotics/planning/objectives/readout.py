"""A state read out of imagined frames, such as the position of the gripper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.world_model.probe import StateProbe

from .goals import for_each_row
from .imagined import imagined
from .over_frames import averaged, require_positive


class StateOf:
    """One entry of the state at every imagined frame: what a :class:`Constraint` reads.

    Args:
        probe: reads states.
        name: of the entry.

    Raises:
        ValueError: the probe does not read it.

    Example:
        >>> StateOf(probe, "z")(context, future).shape  # (B, K, H)
        torch.Size([1, 4, 3])
    """

    def __init__(self, probe: StateProbe, name: str) -> None:
        self.probe, self.index = probe, _index(probe, name)

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Values (B, K, H) of a rollout with ``features_BKHMD``."""
        return self.probe(imagined(rollout, "features_BKHMD", "StateOf"))[..., self.index]


class Readout:
    """Distance between the state read out of imagined frames and a target, averaged over frames.

    Args:
        probe: reads states.
        target: the wanted value of some entries, in their own units: a number for all rows, or (B,)
            numbers, one a row. Of x, y and z it is a position to go to, and the cost is in metres.
        weight: of single entries in the distance; 1 where not given. Entries in other units than
            the others need one.
        discount: weight of a frame relative to the one before it.

    Raises:
        ValueError: no target, an entry the probe does not read, a target that is not finite, or a
            weight of 0 or less.

    Example:
        >>> Readout(probe, {"x": 0.55, "z": 0.85})(context, future).shape  # (B, K)
        torch.Size([1, 4])
    """

    def __init__(
        self,
        probe: StateProbe,
        target: Mapping[str, float | NDArray[np.float32]],
        weight: Mapping[str, float] | None = None,
        discount: float = 1.0,
    ) -> None:
        weight = weight or {}
        require_positive("Readout", discount=discount, **weight)
        if not target:
            raise ValueError(f"Readout got no target; give some of {', '.join(probe.names)}")
        foreign = sorted(set(weight) - set(target))
        if foreign:
            raise ValueError(f"Readout got a weight but no target of {foreign[0]}; give both")
        self.probe, self.discount = probe, discount
        self.index = [_index(probe, name) for name in target]
        values = [np.atleast_1d(np.asarray(value, np.float32)) for value in target.values()]
        self.target_BP = torch.from_numpy(np.stack(np.broadcast_arrays(*values), axis=-1))
        if self.target_BP.ndim != 2 or not self.target_BP.isfinite().all():
            raise ValueError(
                f"Readout got the target {dict(target)}; give finite numbers, one each or one a row"
            )
        self.weight_P = torch.tensor([float(weight.get(name, 1.0)) for name in target])

    def __call__(self, context: Any, rollout: Any) -> Tensor:
        """Costs (B, K), 0 or more, of a rollout with ``features_BKHMD``."""
        state_BKHP = self.probe(imagined(rollout, "features_BKHMD", "Readout"))[
            ..., self.index
        ].float()
        target_BP = for_each_row(self.target_BP.to(state_BKHP), context, "Readout")
        left_BKHP = (state_BKHP - target_BP[:, None, None]) * self.weight_P.to(state_BKHP)
        distance_BKH = torch.linalg.vector_norm(left_BKHP, dim=-1)
        return averaged(distance_BKH, self.discount, "the probe")


def _index(probe: StateProbe, name: str) -> int:
    if name not in probe.names:
        raise ValueError(
            f"the probe reads {', '.join(probe.names)}, not {name}; choose one of these"
        )
    return probe.names.index(name)
