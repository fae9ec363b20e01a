"""Does a longer search do harm? Success by a search's candidates, with and without pessimism.

    python benchmarks/more_samples.py [--runs FOLDER] [--workers 2] [--svg FILE] [--json]

The shipped model's planner with nothing to hold it back (`min_gain=0`: it follows whatever the
world model finds better than the prior's guess) searches among 16, 64 or 256 candidates, a step
ahead, in 100 episodes of 30 steps at most. Pessimistic, a candidate's cost is the mean over 2
imagined futures plus twice their standard deviation. Parts of 10 episodes are lines in FOLDER, so
that an interrupted run goes on; --json prints a summary of all that is there. `worse` names the
pairs of points, fewer candidates against more, whose difference Fisher's exact test (one-sided, 5%)
calls a loss.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

from selfflow_robotics.evaluation.intervals import wilson

TASK, FIRST_SEED, EPISODES, PART = "selfflow/PickCokeCan-v0", 50_000, 100, 10
CANDIDATES = (16, 64, 256)
MAX_STEPS = 30  # the prior's successes take 8 on average


@dataclass(frozen=True)
class Point:
    """A planner, but for its settings that all have."""

    candidates: int
    samples: int
    pessimism: float

    @property
    def name(self) -> str:
        """In results and file names."""
        kind = f"pessimism-{self.pessimism:g}" if self.pessimism else "plain"
        return f"{kind}-{self.candidates}"


POINTS = tuple(
    Point(candidates, *kind) for kind in ((2, 2.0), (1, 0.0)) for candidates in CANDIDATES
)


def play(point: Point, first: int) -> dict[str, Any]:
    """A part of the episodes of a point."""
    import selfflow_robotics.envs  # noqa: F401  (registers the task)
    import torch
    from selfflow_robotics.policies.build import make_policy

    from selfflow_robotics.evaluation.evaluate import evaluate
    from selfflow_robotics.machine.precision import computing
    from selfflow_robotics.planning.config import PlannerConfig
    from selfflow_robotics.world_model.world_model import WorldModel

    torch.set_num_threads(1)
    world_model = WorldModel.from_pretrained("tabletop-small")
    config = PlannerConfig(
        candidates=point.candidates,
        samples=point.samples,
        pessimism=point.pessimism,
        horizon=1,
        topk=max(3, point.candidates // 16),
        min_gain=0.0,
    )
    with computing("auto", "cpu"):
        found = evaluate(
            TASK,
            lambda envs: make_policy("planner", world_model, envs, config),
            range(first, first + PART),
            PART // 2,
            world_model.image_size,
            max_steps=MAX_STEPS,
        )
    steps = [episode.steps for episode in found.episodes if episode.success]
    return {
        "point": point.name,
        "first": first,
        "episodes": len(found.episodes),
        "successes": found.successes,
        "steps": sum(steps),
    }


def no_better(successes: int, n: int, others: int, other_n: int) -> float:
    """One-sided p-value of Fisher's exact test: `successes` of n as few as this by chance alone."""
    total = successes + others
    ways = range(max(0, total - other_n), successes + 1)
    return sum(comb(n, k) * comb(other_n, total - k) for k in ways) / comb(n + other_n, total)


def summary(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Successes of each point, and which do significantly worse than one with fewer candidates."""
    found: dict[str, dict[str, Any]] = {}
    for point in POINTS:
        mine = [part for part in parts if part["point"] == point.name]
        n, successes = (sum(part[key] for part in mine) for key in ("episodes", "successes"))
        if n:
            interval = wilson(successes, n)
            found[point.name] = {
                "candidates": point.candidates,
                "pessimism": point.pessimism,
                "successes": successes,
                "episodes": n,
                "interval": [round(interval.low, 3), round(interval.high, 3)],
                "steps_to_success": round(sum(p["steps"] for p in mine) / max(1, successes), 2),
            }
    worse = []
    for (fewer, a), (more, b) in combinations(found.items(), 2):
        if a["pessimism"] == b["pessimism"]:
            p = no_better(b["successes"], b["episodes"], a["successes"], a["episodes"])
            if p < 0.05:
                worse.append([fewer, more, round(p, 4)])
    return {
        "machine": platform.processor() or platform.machine(),
        "task": TASK,
        **found,
        "worse": worse,
    }


def plot(found: dict[str, Any]) -> str:
    """Success by candidates as an SVG picture, a line for each pessimism, with 95% intervals."""
    points = [point for point in found.values() if isinstance(point, dict)]
    marks = []
    for pessimism, colour in ((2.0, "#1769aa"), (0.0, "#c2571a")):
        line = []
        mine = [point for point in points if point["pessimism"] == pessimism]
        for point in mine:
            x = 90 + 130 * CANDIDATES.index(point["candidates"]) + (8 if pessimism else -8)
            y, high, low = (
                20 + 200 * (1 - share)
                for share in (point["successes"] / point["episodes"], *point["interval"][::-1])
            )
            line.append(f"{x},{y:.1f}")
            marks.append(f'<circle cx="{x}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            marks.append(f'<path d="M{x} {high:.1f}V{low:.1f}" stroke="{colour}"/>')
        if not mine:
            continue
        marks.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}"/>')
        label = f"pessimism {pessimism:g}" if pessimism else "no pessimism"
        marks.append(f'<text x="400" y="{60 if pessimism else 80}" fill="{colour}">{label}</text>')
    for share in range(0, 101, 25):
        y = 220 - 2 * share
        marks.append(f'<path d="M50 {y}H380" stroke="#ddd"/>')
        marks.append(f'<text x="44" y="{y + 4}" text-anchor="end">{share}%</text>')
    for i, candidates in enumerate(CANDIDATES):
        marks.append(f'<text x="{90 + 130 * i}" y="240" text-anchor="middle">{candidates}</text>')
    marks.append('<text x="220" y="258" text-anchor="middle">candidates</text>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 520 265" font-family="sans-serif" '
        f'font-size="12"><rect width="520" height="265" fill="#fff"/>{"".join(marks)}</svg>\n'
    )


def main() -> None:
    """Play what is not there yet, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=Path, default=Path("outputs/more_samples"))
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--points", nargs="*", default=[point.name for point in POINTS])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--svg", type=Path, help="a picture to write")
    asked = parser.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    file = asked.runs / "parts.jsonl"
    parts = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(part["point"], part["first"]) for part in parts}
    wanted = [
        (point, first)
        for point in POINTS
        if point.name in asked.points
        for first in range(FIRST_SEED, FIRST_SEED + EPISODES, PART)
        if (point.name, first) not in done
    ]
    with ProcessPoolExecutor(asked.workers) as pool:
        for job in as_completed([pool.submit(play, *one) for one in wanted]):
            parts.append(job.result())
            with file.open("a") as lines:
                lines.write(json.dumps(parts[-1]) + "\n")
    found = summary(parts)
    if asked.svg:
        asked.svg.write_text(plot(found))
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    for name, point in found.items():
        if isinstance(point, dict):
            low, high = point["interval"]
            print(f"{name:18} {point['successes']:3}/{point['episodes']} ({low:.0%}-{high:.0%})")
    print(f"significantly worse with more candidates: {found['worse'] or 'none'}")


if __name__ == "__main__":
    main()
