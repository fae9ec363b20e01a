"""Environments whose simulators a policy can look into."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.vector import SyncVectorEnv, VectorEnv


def within_reach(
    vector_env: VectorEnv[Any, Any, Any], who: str
) -> tuple[gymnasium.Env[Any, Any], ...]:
    """The single environments of a vector of them.

    Args:
        vector_env: a :class:`gymnasium.vector.SyncVectorEnv`, whose environments are in this
            process.
        who: looks into them, for the message.

    Raises:
        ValueError: they are in other processes.
    """
    if not isinstance(vector_env, SyncVectorEnv):
        raise ValueError(
            f"{who} look into the simulator, which {type(vector_env).__name__} keeps in other "
            "processes; use gymnasium.vector.SyncVectorEnv"
        )
    return tuple(vector_env.envs)
