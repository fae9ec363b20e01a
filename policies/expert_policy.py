"""Acts as the scripted expert of each environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations
from selfflow_robotics.policies.experts import make_expert
from selfflow_robotics.policies.within_reach import within_reach


class ExpertPolicy:
    """One expert an environment; each looks into its simulator, not at the observations.

    Args:
        vector_env: a :class:`gymnasium.vector.SyncVectorEnv`, whose environments are in this
            process.

    Raises:
        ValueError: environments out of reach, or of a task that no expert knows.
    """

    name = "expert"

    def __init__(self, vector_env: VectorEnv[Any, Any, Any]) -> None:
        self.experts = [make_expert(env) for env in within_reach(vector_env, "experts")]

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`; experts remember nothing."""

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        return np.stack([self.experts[row].act() for row in rows])
