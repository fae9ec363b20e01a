"""How far the planner comes when its world model is the truth.

    python benchmarks/true_dynamics.py [--tasks NAME ...] [--first SEED] [--seeds N]
                                       [--runs FOLDER] [--json]

In the tasks of this project: successes of N seeds, with 95% intervals, under CEM towards the end of
what is left of the task by its true state (`policies/oracle.py`); no expert, no learned prior. In
Gymnasium's own tasks: the return R of CEM against that of a search with ten times the samples (in
Pusher five times), R*, as (R - R0) / (R* - R0), where R0 is what doing nothing returns: all returns
are negative, so that their plain ratio would flatter a planner in tasks where little can be gained.
Episodes start from the same seeds. Each finished episode is a line in FOLDER; an interrupted run
goes on from there, and --json prints a summary of what is there of these tasks, seeds and settings.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import torch
from selfflow_robotics.envs.truth import TrueDynamics, box_actions, negative_return
from selfflow_robotics.policies.oracle import OraclePolicy, OracleSearch, tabletop_oracle

from selfflow_robotics.evaluation.intervals import wilson
from selfflow_robotics.planning import CEM

TABLETOP = ("OpenDrawer", "CloseDrawer", "MoveNear", "PickCokeCan")
SEEDS, GYMNASIUM_SEEDS = 100, 10


@dataclass(frozen=True)
class Search:
    """CEM in a Gymnasium task; the horizon counts actions, each held `repeat` steps."""

    candidates: int
    iterations: int
    horizon: int
    repeat: int
    topk: int
    initial_std: float
    min_std: float


def _searches(search: Search, times: int) -> tuple[Search, Search]:
    """The planner's, and the reference's: so many times the samples, in twice the rounds."""
    longer = replace(
        search,
        candidates=search.candidates * times // 2,
        iterations=search.iterations * 2,
        topk=9,
    )
    return search, longer


GYMNASIUM = {
    "Pendulum-v1": _searches(
        Search(16, 2, 10, repeat=3, topk=3, initial_std=0.7, min_std=0.05), 10
    ),
    "Reacher-v5": _searches(Search(16, 5, 6, repeat=4, topk=3, initial_std=0.1, min_std=0.01), 10),
    "Pusher-v5": _searches(Search(48, 10, 5, repeat=8, topk=5, initial_std=0.15, min_std=0.02), 5),
}


def gymnasium_oracle(env: gymnasium.Env[Any, Any], search: Search) -> OraclePolicy:
    """CEM towards the highest return."""
    space = env.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    dynamics = TrueDynamics([env], box_actions(space, 1.0), repeat=search.repeat)
    solver = CEM(
        dynamics,
        negative_return,
        candidates=search.candidates,
        iterations=search.iterations,
        horizon=search.horizon,
        topk=search.topk,
        initial_std=search.initial_std,
        min_std=search.min_std,
    )
    return OraclePolicy(dynamics, solver)


def play(env: gymnasium.Env[Any, Any], policy: OraclePolicy | None, seed: int) -> dict[str, Any]:
    """One episode; without a policy nothing is done in it."""
    began, simulated = time.perf_counter(), policy.passes if policy else 0
    env.reset(seed=seed)
    if policy is not None:
        policy.reset([0], [seed])
    steps, total, over = 0, 0.0, False
    info: dict[str, Any] = {}
    while not over:
        action = env.action_space.sample() * 0 if policy is None else policy.act(None, [0])[0]
        _, reward, terminated, truncated, info = env.step(action)
        steps, total, over = steps + 1, total + float(reward), terminated or truncated
    return {
        "seed": seed,
        "success": bool(info.get("success", False)),
        "return": total,
        "steps": steps,
        "simulated_steps": (policy.passes if policy else 0) - simulated,
        "seconds": round(time.perf_counter() - began, 2),
    }


def runs(task: str) -> Iterator[tuple[str, Any]]:
    """What is run in a task: a name, and the settings of its search, none where nothing is done."""
    if task in TABLETOP:
        yield "planner", OracleSearch()
        return
    yield "nothing", None
    search, longer = GYMNASIUM[task]
    yield "planner", search
    yield "reference", longer


def kept(folder: Path, task: str, name: str, search: Any) -> dict[int, dict[str, Any]]:
    """Episodes of these settings that are there already, by seed."""
    path = folder / f"{task}-{name}.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    episodes = [json.loads(line) for line in lines]
    same = [e for e in episodes if e["search"] == (asdict(search) if search else None)]
    return {e["seed"]: e for e in same}


def run(folder: Path, task: str, seeds: range) -> None:
    """Play the episodes that lack, each kept as soon as it is over."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, search in runs(task):
        if task in TABLETOP:
            env = gymnasium.make(f"selfflow/{task}-v0", image_size=(8, 8))
            policy: OraclePolicy | None = tabletop_oracle([env], search)
        else:
            env = gymnasium.make(task)
            policy = gymnasium_oracle(env, search) if search else None
        for seed in seeds:
            if seed in kept(folder, task, name, search):  # perhaps by another process since
                continue
            episode = play(env, policy, seed)
            with (folder / f"{task}-{name}.jsonl").open("a") as file:
                row = {**episode, "search": asdict(search) if search else None}
                file.write(json.dumps(row) + "\n")
            print(task, name, *(f"{k} {v}" for k, v in episode.items()), flush=True)
        env.close()


def successes(folder: Path, task: str, seeds: range) -> dict[str, Any]:
    """Successes with Wilson's 95% interval."""
    name, search = next(runs(task))
    found = kept(folder, task, name, search)
    episodes = {seed: found[seed] for seed in seeds if seed in found}
    if not episodes:
        return {"seeds": 0}
    won = sum(e["success"] for e in episodes.values())
    interval = wilson(won, len(episodes))
    return {
        "search": asdict(search),
        "first_seed": seeds.start,
        "seeds": len(episodes),
        "successes": won,
        "interval": [round(interval.low, 3), round(interval.high, 3)],
        "failed_seeds": sorted(seed for seed, e in episodes.items() if not e["success"]),
        **costs(episodes),
    }


def costs(episodes: dict[int, dict[str, Any]]) -> dict[str, float]:
    """Means of what an episode took."""
    return {
        f"mean_{key}": round(statistics.fmean(e[key] for e in episodes.values()), 1)
        for key in ("steps", "simulated_steps", "seconds")
    }


def returns(folder: Path, task: str, seeds: range) -> dict[str, Any]:
    """Returns, and the share of the reference's gain over doing nothing."""
    found = {name: (search, kept(folder, task, name, search)) for name, search in runs(task)}
    played = [seed for seed in seeds if all(seed in episodes for _, episodes in found.values())]
    if not played:
        return {"seeds": 0}
    summary: dict[str, Any] = {"first_seed": seeds.start, "seeds": len(played)}
    mean = {}
    for name, (search, episodes) in found.items():
        values = [episodes[seed]["return"] for seed in played]
        mean[name] = statistics.fmean(values)
        summary[name] = {
            "search": asdict(search) if search else None,
            "mean_return": round(mean[name], 3),
            "returns": [round(value, 3) for value in values],
            **costs({seed: episodes[seed] for seed in played}),
        }
    gained = (mean["planner"] - mean["nothing"]) / (mean["reference"] - mean["nothing"])
    return {"share_of_reference": round(gained, 4), **summary}


def machine() -> str:
    """The processor, and what else ran on it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = {line.split(":", 1)[1].strip() for line in file if "model name" in line}
    except OSError:
        names = {"unknown processor"}
    return f"{os.cpu_count()} cores of {', '.join(sorted(names))}, one used, other jobs on them"


def main() -> None:
    """Play what lacks; print what is there."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", nargs="*", default=[*TABLETOP, *GYMNASIUM])
    parser.add_argument("--first", type=int, default=0, help="seed")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--runs", type=Path, default=Path("runs/true_dynamics"))
    parser.add_argument("--json", action="store_true", help="play nothing, print the summary")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {"machine": machine(), "tasks": {}}
    for task in asked.tasks:
        count = asked.seeds or (SEEDS if task in TABLETOP else GYMNASIUM_SEEDS)
        seeds = range(asked.first, asked.first + count)
        if asked.json:
            summary = successes if task in TABLETOP else returns
            found["tasks"][task] = summary(asked.runs, task, seeds)
        else:
            run(asked.runs, task, seeds)
    if asked.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
