"""Acts at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations

from selfflow_robotics.data.action_spec import ActionSpec


class RandomPolicy:
    """Independent uniform actions over the range that a planner searches, q01..q99."""

    name = "random"

    def __init__(self, action_spec: ActionSpec) -> None:
        self.action_spec = action_spec
        self._streams: dict[int, np.random.Generator] = {}

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""
        for row, seed in zip(rows, seeds, strict=True):
            self._streams[row] = np.random.default_rng(seed)

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        size = self.action_spec.size
        drawn = np.stack([self._streams[row].uniform(-1, 1, size) for row in rows])
        actions = np.asarray(self.action_spec.denormalize(drawn), np.float32)
        return actions.clip(self.action_spec.low, self.action_spec.high).astype(np.float32)
