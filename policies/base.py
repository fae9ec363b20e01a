"""What a policy is given and gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations


class Policy(Protocol):
    """Turns observations into actions, for any subset of the environments at a time.

    Wherever a command takes the name of a policy, `module:Class` names one of your own, of the
    working folder or installed. Its constructor is given what it has parameters for: `vector_env`,
    the environments that it acts in, and `world_model`, that of the command, which is loaded then.

    Example:
        >>> class Rest:
        ...     name = "rest"
        ...     def reset(self, rows, seeds): ...
        ...     def act(self, observations, rows):
        ...         return np.zeros((len(rows), 7), np.float32)
    """

    name: str

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Forget these environments: each starts a new episode.

        Args:
            rows: indices of environments.
            seeds: one a row, 0 or more; of everything random the policy does in the episode.
        """
        ...

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """Decide one action for each of these environments.

        Args:
            observations: of these environments, in this order.
            rows: their indices.

        Returns:
            (len(rows), A), in the units of the policy's action specification.
        """
        ...
