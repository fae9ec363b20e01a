"""Whether every action inside the bounds can be played: random and adversarial steps of all tasks.

    python benchmarks/any_action.py [--steps N] [--seed SEED] [--out FILE]

An episode plays 200 steps of one task, without drawing, and changes its manner every 40 or so:
uniform actions, corners of the action space, one corner held (a long push while turning), a corner
and its opposite in turn, one entry held at a bound, a constant rotation, or next to nothing. FILE
counts steps, exceptions, states that are not finite, and MuJoCo's warnings of an unstable
simulation, by task and manner; it is written anew after each round of the tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs import TASKS

Action: TypeAlias = NDArray[np.float32]
Play: TypeAlias = Callable[[int], Action]

EPISODE, MANNER = 200, 40  # steps
_SHOWN = 20  # faults that are described
_UNSTABLE = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC")


def corner(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Action:
    """Every entry at one of its bounds."""
    return np.where(rng.random(space.shape) < 0.5, space.low, space.high).astype(np.float32)


def uniform(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """Anything inside the bounds."""
    return lambda _: rng.uniform(space.low, space.high).astype(np.float32)


def corners(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """Another corner at each step."""
    return lambda _: corner(space, rng)


def push(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """One corner, held."""
    held = corner(space, rng)
    return lambda _: held


def flips(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """A corner and its opposite in turn, each for one to eight steps."""
    one, every = corner(space, rng), int(rng.integers(1, 9))
    other = np.where(one == space.low, space.high, space.low)
    return lambda step: one if step // every % 2 == 0 else other


def entry(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """One entry at a bound, the others at rest."""
    held = np.zeros(space.shape, np.float32)
    index = int(rng.integers(held.size))
    held[index] = corner(space, rng)[index]
    return lambda _: held


def turning(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """A constant rotation in place, about an axis of its own."""
    held = np.zeros(space.shape, np.float32)
    axis = rng.normal(size=3)
    held[3:6] = axis / np.abs(axis).max() * space.high[3:6]
    return lambda _: np.clip(held, space.low, space.high)


def faint(space: gymnasium.spaces.Box, rng: np.random.Generator) -> Play:
    """Numbers next to nothing, down to the smallest there are."""

    def drawn(_: int) -> Action:
        sign = rng.choice([-1.0, 1.0], space.shape)
        return np.asarray(sign * 10.0 ** rng.uniform(-45, -3, space.shape), np.float32)

    return drawn


MANNERS = (uniform, corners, push, flips, entry, turning, faint)


def play(env: Any, task: str, seed: int, found: dict[str, Any]) -> None:
    """One episode; what goes wrong is counted, and ends it."""
    rng = np.random.default_rng(seed)
    env.reset(seed=int(rng.integers(2**31)))
    inner, space = env.unwrapped, env.action_space
    left = 0
    for step in range(EPISODE):
        if left == 0:
            manner = MANNERS[int(rng.integers(len(MANNERS)))]
            action_of, left = manner(space, rng), int(rng.integers(MANNER // 2, MANNER * 3 // 2))
        action, left = action_of(step), left - 1
        if not space.contains(action):
            raise AssertionError(f"{manner.__name__} drew {action}, which is outside the bounds")
        found["steps"][task] += 1
        found["manners"][manner.__name__] += 1
        fault = _fault(inner, action, found)
        if fault is not None:
            if len(found["described"]) < _SHOWN:
                where = {"task": task, "seed": seed, "step": step, "manner": manner.__name__}
                found["described"].append({**where, "fault": fault})
            return


def _fault(env: Any, action: Action, found: dict[str, Any]) -> str | None:
    """Play an action; what went wrong, counted, or None."""
    try:
        env.advance(action)
    except Exception as error:
        found["exceptions"] += 1
        return f"{type(error).__name__}: {error}"
    import mujoco  # once the environments have chosen how it draws

    data = env.world.data
    if not (np.isfinite(data.qpos).all() and np.isfinite(data.qvel).all()):
        found["not_finite"] += 1
        return "a state that is not finite"
    if any(data.warning[int(getattr(mujoco.mjtWarning, kind))].number for kind in _UNSTABLE):
        found["unstable"] += 1
        return "a warning of MuJoCo that the simulation is unstable"
    return None


def main() -> None:
    """Play, and keep the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all tasks together")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/any_action.json"))
    asked = parser.parse_args()
    envs = {
        task: gymnasium.make(task, image_size=(8, 8), disable_env_checker=True) for task in TASKS
    }
    found: dict[str, Any] = {
        "device": f"1 of {os.cpu_count()} cores, {platform.machine()}, MuJoCo {version('mujoco')}",
        "seed": asked.seed,
        "steps": Counter(),
        "manners": Counter(),
        **{"exceptions": 0, "not_finite": 0, "unstable": 0, "described": []},
    }
    began, seed = time.perf_counter(), asked.seed
    while found["steps"].total() < asked.steps:
        for task, env in envs.items():
            play(env, task, seed, found)
            seed += 1
        total, seconds = found["steps"].total(), time.perf_counter() - began
        found |= {"total_steps": total, "steps_per_second": round(total / seconds, 1)}
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(found, indent=1) + "\n")
    faults = found["exceptions"] + found["not_finite"] + found["unstable"]
    print(f"{total} steps, {faults} faults, {total / seconds:.0f} steps/s; see {asked.out}")


if __name__ == "__main__":
    main()
