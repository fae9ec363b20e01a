"""Environment steps a second on one core at 64x80, drawing included, and how much of it is drawing.

    python benchmarks/environments.py [--json]

Experts play each task; resets and the experts' own time are left out. Drawing is timed by observing
the same states once more.
"""

from __future__ import annotations

import json
import os
import sys
import time

import gymnasium
import selfflow_robotics.envs  # registers the tasks
from selfflow_robotics.policies.experts import make_expert

STEPS = 300


def measure(task: str) -> dict[str, float]:
    """Steps a second and the share of their time that draws."""
    env = gymnasium.make(task, image_size=(64, 80), disable_env_checker=True)
    inner = env.unwrapped
    stepping = drawing = 0.0
    steps, over, seed = -20, True, 0  # the first steps warm up
    while steps < STEPS:
        if over:
            env.reset(seed=seed)
            expert, seed = make_expert(env), seed + 1
        action = expert.act()
        began = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        stepped = time.perf_counter()
        inner.observe()  # type: ignore[attr-defined]
        drawn = time.perf_counter()
        over, steps = terminated or truncated, steps + 1
        if steps > 0:
            stepping += stepped - began
            drawing += drawn - stepped
    env.close()
    return {"steps_per_second": STEPS / stepping, "drawing_share": drawing / stepping}


def main() -> None:
    """Measure every task and print."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    found = {task: measure(task) for task in selfflow_robotics.envs.TASKS}
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for task, values in found.items():
        rate, share = values["steps_per_second"], values["drawing_share"]
        print(f"{task:32} {rate:5.0f} steps/s, {share:.0%} of the time drawing")


if __name__ == "__main__":
    main()
