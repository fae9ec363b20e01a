"""Plays one episode in an environment and keeps everything RT-1 stores of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.collecting.behaviours import Action, Novice, Planned, behaviour_for
from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode
from selfflow_robotics.policies.experts import make_expert

_MID_START = 0.7  # share of random play that begins where an expert has got to


def record(
    env: gymnasium.Env[dict[str, Any], Action],
    source: str,
    seed: np.random.SeedSequence,
    task: str,
    random_steps: int = 40,
    novice: Novice | None = None,
    watch: Callable[[], None] | None = None,
) -> Rt1Episode:
    """Record an episode; the same seed gives the same episode.

    Random play begins in many cases where an expert has got to after a random number of steps
    (these are not recorded), and ends after random_steps.

    Args:
        env: one of this project's tasks, within its time limit.
        source: "expert", or a player of :data:`~.assignments.SHARES`.
        seed: decides the scene and every random choice.
        task: name stored with the episode.
        random_steps: length of random play.
        novice: acts in "alone" episodes, and in "intervened" and "planner" until the expert does.
        watch: called at every frame, when it has been seen and before anybody acts.

    Returns:
        The episode; the last action, which leads nowhere, is zero. Actions are as executed; those
        that are exactly the expert's are marked as demonstrated.
    """
    scene_seed, choices = seed.generate_state(1, np.uint32)[0], np.random.default_rng(seed)
    observation, _ = env.reset(seed=int(scene_seed))
    inner: Any = env.unwrapped
    expert = make_expert(env).act
    limit = random_steps if source == "random" else None
    if source == "random" and choices.random() < _MID_START:
        observation = _advance(env, expert, choices)
    behaviour = behaviour_for(source, choices, novice)
    if isinstance(behaviour, Planned):
        limit = behaviour.limit
    asked: Action | None = None

    def ask() -> Action:
        nonlocal asked
        asked = expert()
        return asked.copy()

    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]

    images: list[NDArray[np.uint8]] = []
    fields: dict[str, list[NDArray[np.float32]]] = {key: [] for key in OBSERVATIONS}
    actions: list[Action] = []
    demonstrated: list[bool] = []
    instructions: list[str] = []
    over = success = False
    while True:
        images.append(observation["image"])
        instructions.append(observation["instruction"])
        for key, value in inner.rt1_observation().items():
            fields[key].append(value)
        if watch is not None:
            watch()
        if over or len(actions) == limit:
            break
        asked = None
        wanted = behaviour.act(ask, observation)
        demonstrated.append(asked is not None and np.array_equal(wanted, asked))
        actions.append(np.clip(wanted, low, high).astype(np.float32))
        observation, _, terminated, truncated, info = env.step(actions[-1])
        over, success = terminated or truncated, bool(info["success"])
    actions.append(np.zeros_like(low))
    demonstrated.append(False)
    return Rt1Episode(
        images=np.stack(images),
        observations={key: np.stack(values) for key, values in fields.items()},
        actions=np.stack(actions),
        instructions=tuple(instructions),
        success=success,
        source=source,
        task=task,
        demonstrated=np.asarray(demonstrated),
    )


def _advance(
    env: gymnasium.Env[dict[str, Any], Action],
    expert: Callable[[], Action],
    choices: np.random.Generator,
) -> dict[str, Any]:
    """Go to a moment of an expert's way, before it succeeds; the observation there."""
    inner: Any = env.unwrapped
    passed = [inner.get_state()]
    for _ in range(int(choices.integers(1, 40))):
        _, _, terminated, truncated, _ = env.step(expert())
        if terminated or truncated:
            inner.set_state(passed[int(choices.integers(len(passed)))])
            break
        passed.append(inner.get_state())
    observation: dict[str, Any] = inner.observe()
    return observation
