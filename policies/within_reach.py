"""Environments whose simulators a policy can look into."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import SyncVectorEnv, VectorEnv


def within_reach(
    vector_env: VectorEnv[Any, Any, Any], who: str
) -> tuple[gymnasium.Env[Any, Any], ...]:
    """The single environments of a vector of them, into which `who` looks.

    Raises:
        ValueError: they are in other processes, as with all but a :class:`SyncVectorEnv`.
    """
    if not isinstance(vector_env, SyncVectorEnv):
        raise ValueError(
            f"{who} look into the simulator, which {type(vector_env).__name__} keeps in other "
            "processes; use gymnasium.vector.SyncVectorEnv"
        )
    return tuple(vector_env.envs)
