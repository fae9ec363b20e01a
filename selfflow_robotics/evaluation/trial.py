"""One step of a task, tried before any episode is played: does it fit its mapping, does it tell?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv

from selfflow_robotics.envs.mapping import EnvMapping, Observations, observe_env
from selfflow_robotics.evaluation.rows import Row, failing
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.policies.build import make_policy
from selfflow_robotics.world_model.world_model import WorldModel


def make_row(task: str, options: Mapping[str, Any]) -> Row:
    """A task's environment, as an evaluation plays it.

    Raises:
        RuntimeError: it cannot be made.
    """
    with failing(task, "cannot be made"):
        return Row(gymnasium.make(task, **options), task)


def try_task(
    task: str, mapping: EnvMapping, action_size: int, state_size: int | None = None
) -> Observations:
    """Make other people's task, look at it through its mapping, and take one step of nothing.

    Args:
        action_size: entries of the policies' actions.
        state_size: entries of the proprioception that they read; None where they read none.

    Returns:
        What it shows at its start.

    Raises:
        ValueError: the mapping does not fit it, it has no limit, or does not tell success.
        RuntimeError: it cannot be made, or fails.
    """
    env = make_row(task, {})
    try:
        step_limit(env, task)
        with _named(task):
            mapping.check(env.observation_space, env.action_space, action_size)
        observation, _ = env.reset(seed=0)
        with _named(task):
            seen = observe_env(observation, mapping, vectorized=False)
            size = None if seen.proprioception is None else seen.proprioception.shape[1]
            if None not in (size, state_size) and size != state_size:
                raise ValueError(
                    f"the proprioception {mapping.proprioception!r} has {size} entries, "
                    f"the world model reads {state_size}; name another key in "
                    "mapping.proprioception, or give null (None in Python) for none"
                )
            still = np.zeros((1, action_size), np.float32)
            action = mapping.to_environment(still, env.action_space)[0]
        env.step(action)
        return seen
    finally:
        env.close()


def try_policy(name: str, task: str, world_model: WorldModel, config: PlannerConfig) -> None:
    """Make a policy for a task, and play nothing.

    Raises:
        ValueError: the world model cannot tell what the task asks for.
    """
    envs = SyncVectorEnv([partial(gymnasium.make, task)])
    try:
        with _named(task):
            make_policy(name, world_model, envs, config)
    finally:
        envs.close()


@contextmanager
def _named(task: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"task {task}: {error}") from error


def step_limit(env: gymnasium.Env[Any, Any], task: str) -> int:
    """Most steps of an episode.

    Raises:
        ValueError: the task has no limit.
    """
    if env.spec is None or env.spec.max_episode_steps is None:
        raise ValueError(
            f"task {task} has no step limit, so a failing episode would never end; "
            "register it with max_episode_steps"
        )
    return env.spec.max_episode_steps


def rate_of(env: gymnasium.Env[Any, Any]) -> float | None:
    """Steps a second, as the task's metadata tell them; None where they do not."""
    told = env.metadata.get("render_fps")
    if isinstance(told, (int, float)) and math.isfinite(told) and told > 0:
        return float(told)
    return None
