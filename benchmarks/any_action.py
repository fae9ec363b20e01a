"""Whether every action inside the bounds can be played: random and adversarial steps of all tasks.

    python benchmarks/any_action.py [--steps N] [--parts free led shoved] [--out FILE]

An episode plays 200 steps of one task, without drawing, and changes its manner every 40 or so. Of
all steps four fifths are "free", knowing nothing of the task: uniform actions, corners of the
action space, one corner held (a long push while turning), a corner and its opposite in turn, one
entry held at a bound, a constant rotation, or next to nothing. A tenth is "led": the task's expert
brings the arm to where things are touched, then it is disturbed, exaggerated, held, turned aside or
dragged. A tenth is "shoved": free, and every tenth step a joint is put past its range, as a contact
may press it.

FILE counts, for each part, steps, exceptions, states that are not finite, and MuJoCo's warnings of
an unstable simulation; it is written anew after each round, and keeps parts not played.
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
from selfflow_robotics.envs.robot import ARM
from selfflow_robotics.policies.experts import make_expert

Action: TypeAlias = NDArray[np.float32]
Play: TypeAlias = Callable[[int], Action]
Box: TypeAlias = gymnasium.spaces.Box

EPISODE, MANNER, SHOVE = 200, 40, 10  # steps
SHARES = {"free": 0.8, "led": 0.1, "shoved": 0.1}
_SHOWN = 20  # faults that are described
_UNSTABLE = ("mjWARN_BADQPOS", "mjWARN_BADQVEL", "mjWARN_BADQACC")


def corner(space: Box, rng: np.random.Generator) -> Action:
    """Every entry at one of its bounds."""
    return np.where(rng.random(space.shape) < 0.5, space.low, space.high).astype(np.float32)


def uniform(space: Box, rng: np.random.Generator) -> Play:
    """Anything inside the bounds."""
    return lambda _: rng.uniform(space.low, space.high).astype(np.float32)


def corners(space: Box, rng: np.random.Generator) -> Play:
    """Another corner at each step."""
    return lambda _: corner(space, rng)


def push(space: Box, rng: np.random.Generator) -> Play:
    """One corner, held."""
    held = corner(space, rng)
    return lambda _: held


def flips(space: Box, rng: np.random.Generator) -> Play:
    """A corner and its opposite in turn, each for one to eight steps."""
    one, every = corner(space, rng), int(rng.integers(1, 9))
    other = np.where(one == space.low, space.high, space.low)
    return lambda step: one if step // every % 2 == 0 else other


def entry(space: Box, rng: np.random.Generator) -> Play:
    """One entry at a bound, the others at rest."""
    held = np.zeros(space.shape, np.float32)
    index = int(rng.integers(held.size))
    held[index] = corner(space, rng)[index]
    return lambda _: held


def turning(space: Box, rng: np.random.Generator) -> Play:
    """A constant rotation in place, about an axis of its own."""
    held = np.zeros(space.shape, np.float32)
    axis = rng.normal(size=3)
    held[3:6] = axis / np.abs(axis).max() * space.high[3:6]
    return lambda _: np.clip(held, space.low, space.high)


def faint(space: Box, rng: np.random.Generator) -> Play:
    """Numbers next to nothing, down to the smallest there are."""

    def drawn(_: int) -> Action:
        sign = rng.choice([-1.0, 1.0], space.shape)
        return np.asarray(sign * 10.0 ** rng.uniform(-45, -3, space.shape), np.float32)

    return drawn


FREE = (uniform, corners, push, flips, entry, turning, faint)
LED = ("expert", "disturbed", "exaggerated", "held", "aside", "dragged")


def led(manner: str, expert: Any, space: Box, rng: np.random.Generator) -> Play:
    """What becomes of the expert's actions."""
    noise, times = float(rng.choice([0.02, 0.1, 0.5])), float(rng.uniform(1.5, 5.0))
    turn = turning(space, rng)(0)
    drag: Action = (rng.uniform(space.low, space.high) * rng.choice([0.1, 0.3, 1.0])).astype(
        np.float32
    )
    drag[6] = rng.choice([0.0, 1.0])
    held: Action = np.clip(expert.act(), space.low, space.high)

    def act(_: int) -> Action:
        if manner == "held":
            return held
        if manner == "dragged":
            return drag
        action: Any = np.asarray(expert.act(), np.float32)
        if manner == "disturbed":
            action = action + noise * rng.normal(size=space.shape) * space.high
        elif manner == "exaggerated":
            action = action * times
        elif manner == "aside":
            action = action + turn
        return np.asarray(np.clip(action, space.low, space.high), np.float32)

    return act


def shove(env: Any, rng: np.random.Generator) -> None:
    """A joint of the arm, put past its range by up to half a radian."""
    index, past = int(rng.integers(len(ARM))), rng.uniform(0.0, 0.5)
    joint = ARM[index]
    at = joint.high + past if rng.random() < 0.5 else joint.low - past
    env.world.data.qpos[env.world.arm_qpos[index]] = at


def play(env: Any, task: str, seed: int, part: str, found: dict[str, Any]) -> None:
    """One episode; what goes wrong is counted, and ends it."""
    rng = np.random.default_rng(seed)
    env.reset(seed=int(rng.integers(2**31)))
    inner, space = env.unwrapped, env.action_space
    expert = make_expert(env) if part == "led" else None
    left = 0
    for step in range(EPISODE):
        if left == 0:
            if expert is not None:
                name = "expert" if step == 0 else str(rng.choice(LED))
                action_of = led(name, expert, space, rng)
            else:
                manner = FREE[int(rng.integers(len(FREE)))]
                name, action_of = manner.__name__, manner(space, rng)
            left = int(rng.integers(MANNER // 2, MANNER * 3 // 2))
        action, left = action_of(step), left - 1
        if not space.contains(action):
            raise AssertionError(f"{name} drew {action}, which is outside the bounds")
        if part == "shoved" and step % SHOVE == SHOVE - 1:
            shove(inner, rng)
        found["steps"][task] += 1
        found["manners"][name] += 1
        fault = _fault(inner, action, found)
        if fault is not None:
            if len(found["described"]) < _SHOWN:
                where = {"task": task, "seed": seed, "step": step, "manner": name}
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


def run(part: str, steps: int, write: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Rounds of one episode a task until so many steps are done; counts go out after each."""
    envs = {
        task: gymnasium.make(task, image_size=(8, 8), disable_env_checker=True) for task in TASKS
    }
    found: dict[str, Any] = {
        "device": f"1 of {os.cpu_count()} cores, {platform.machine()}, MuJoCo {version('mujoco')}",
        "steps": Counter(),
        "manners": Counter(),
        **{"exceptions": 0, "not_finite": 0, "unstable": 0, "described": []},
    }
    began, seed = time.perf_counter(), 0
    while found["steps"].total() < steps:
        for task, env in envs.items():
            play(env, task, seed, part, found)
            seed += 1
        total, seconds = found["steps"].total(), time.perf_counter() - began
        write({**found, "total_steps": total, "steps_per_second": round(total / seconds, 1)})
    return found


def main() -> None:
    """Play, and keep the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="of all parts together")
    parser.add_argument("--parts", nargs="+", choices=SHARES, default=[*SHARES])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/any_action.json"))
    asked = parser.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Any] = json.loads(asked.out.read_text()) if asked.out.exists() else {}
    for part in asked.parts:

        def write(counts: dict[str, Any], part: str = part) -> None:
            whole[part] = counts
            asked.out.write_text(json.dumps(whole, indent=1) + "\n")

        found = run(part, round(asked.steps * SHARES[part]), write)
        faults = found["exceptions"] + found["not_finite"] + found["unstable"]
        print(f"{part}: {found['steps'].total()} steps, {faults} faults; see {asked.out}")


if __name__ == "__main__":
    main()
