"""Does nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations

from selfflow_robotics.data.action_spec import ActionSpec


class ZeroPolicy:
    """The zero action: no displacement where actions are displacements."""

    name = "zero"

    def __init__(self, action_spec: ActionSpec) -> None:
        self.action_spec = action_spec

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        zero = np.zeros((len(rows), self.action_spec.size), np.float32)
        return np.clip(zero, self.action_spec.low, self.action_spec.high).astype(np.float32)
