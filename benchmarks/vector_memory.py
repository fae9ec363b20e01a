"""Memory and speed of many environments in one process, beside an older checkout of this project.

    python benchmarks/vector_memory.py [--before FOLDER] [--envs N] [--steps N] [--rounds N]
                                       [--tasks NAME ...] [--json FILE]

Each measurement is a process of its own: N environments of a task at 64x80, as `selfflow evaluate`
makes them, are reset and stepped with the same random actions; the sides take turns. Told are the
resident memory at the end, all of it, the fastest round's steps a second, and whether both sides
saw the same observations, bit for bit. FOLDER is a checkout, as `git worktree add FOLDER COMMIT`
makes it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parents[1]
SIZE = (64, 80)


def measure(folder: Path, task: str, envs: int, steps: int) -> dict[str, Any]:
    """What a process with the code of this folder takes; in that process."""
    sys.path.insert(0, str(folder))
    import selfflow_robotics

    selfflow_robotics.__path__.append(str(folder))  # where `envs/` lies without being installed
    import gymnasium
    import numpy as np
    import selfflow_robotics.envs
    from gymnasium.vector import SyncVectorEnv

    if not Path(selfflow_robotics.envs.__file__).is_relative_to(folder):
        raise RuntimeError(f"the environments of {folder} were asked for, others were imported")

    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.make(f"selfflow/{task}-v0", image_size=SIZE)

    vector = SyncVectorEnv([make] * envs)
    seen, _ = vector.reset(seed=0)
    digest = hashlib.sha256()
    rng = np.random.default_rng(0)
    space: Any = vector.single_action_space
    took = 0.0
    for step in range(steps + 1):
        for name in ("image", "proprioception"):
            digest.update(seen[name].tobytes())
        if step < steps:
            actions = rng.uniform(space.low, space.high, (envs, *space.shape)).astype(np.float32)
            began = time.perf_counter()
            seen, *_ = vector.step(actions)
            took += time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    vector.close()
    return {
        "peak_mb": round(peak),
        "steps_per_second": round(envs * steps / took, 1),
        "seen": digest.hexdigest(),
    }


def in_a_process(folder: Path, task: str, envs: int, steps: int) -> dict[str, Any]:
    """As :func:`measure`, in a process of its own with one thread."""
    command = [sys.executable, __file__, "--of", str(folder), "--tasks", task]
    command += ["--envs", str(envs), "--steps", str(steps)]
    one = {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env={**os.environ, **one}, check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(sides: dict[str, Path], task: str, envs: int, steps: int, rounds: int) -> Any:
    """The sides in turn; of each the highest peak and the fastest round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, folder in sides.items():
            runs[name].append(in_a_process(folder, task, envs, steps))
    found: dict[str, Any] = {
        name: {
            "peak_mb": max(run["peak_mb"] for run in of),
            "steps_per_second": max(run["steps_per_second"] for run in of),
        }
        for name, of in runs.items()
    }
    found["same_observations"] = len({run["seen"] for of in runs.values() for run in of}) == 1
    if "before" in found:
        found["share_of_memory"] = round(found["now"]["peak_mb"] / found["before"]["peak_mb"], 3)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, help="a checkout to compare with")
    parser.add_argument("--envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=["PickCokeCan", "MoveNear", "OpenDrawer"])
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.of is not None:
        print(json.dumps(measure(asked.of.resolve(), asked.tasks[0], asked.envs, asked.steps)))
        return
    sides = {"before": asked.before} if asked.before else {}
    sides["now"] = HERE
    found: dict[str, Any] = {
        "device": f"1 of {os.cpu_count()} cores, {platform.machine()}, other jobs beside",
        "environments": asked.envs,
        "image_size": SIZE,
        "tasks": {},
    }
    for task in asked.tasks:
        found["tasks"][task] = compare(sides, task, asked.envs, asked.steps, asked.rounds)
        print(task, json.dumps(found["tasks"][task]))
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
