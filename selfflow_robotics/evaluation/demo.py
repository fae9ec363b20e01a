"""The shipped world model plans in all tasks, beside an expert and random play."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from selfflow_robotics.evaluation.comparison import compare, judge_and_report, table
from selfflow_robotics.evaluation.config import Comparison
from selfflow_robotics.evaluation.results import Results, TaskResult
from selfflow_robotics.machine.precision import Precision
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.storage.whole_file import require_writable, write_whole
from selfflow_robotics.world_model.world_model import WorldModel

POLICIES = ("random", "expert", "joint", "prior", "planner")


def demo(
    out: Path,
    model_name: str = "tabletop-planner",
    tasks: tuple[str, ...] = (),
    episodes: int = 3,
    seed: int = 20_000,
    *,
    planner: PlannerConfig,
    horizon: int = 4,
    precision: Precision = "auto",
    json: Path | None = None,
    options: Mapping[str, str],
) -> Results:
    """Play, write results.json and report.html to `out`, and print success.

    Args:
        model_name: shipped name, or the folder of a model.
        tasks: all of this project when empty.
        episodes: of each task and policy, with the seeds from `seed` on.
        horizon: steps ahead for imagined frames.
        json: file for the success table.
        options: other settings that results.json is to hold.

    Raises:
        FileNotFoundError: the shipped weights are not there.
    """
    began = time.monotonic()
    if json is not None:
        require_writable(json)
    try:
        world_model = WorldModel.from_pretrained(model_name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the weights of the demo are missing: {error}. Install from a full checkout or wheel, "
            "or train a model and give its folder: world_model=FOLDER"
        ) from error
    comparison = Comparison(
        tasks=tasks,
        policies=tuple(p for p in POLICIES if p not in _lacking(world_model)),
        episodes=episodes,
        seed=seed,
        num_envs=episodes,
        planner=planner,
        precision=precision,
    )
    results = compare(comparison, world_model, model_name, out, options, episodes)
    results = judge_and_report(results, world_model, out, horizon, max_clips=96)
    if json is not None:
        write_whole(json, json_text.dumps(success_table(results.tasks), indent=1) + "\n")
    print(f"\nsuccess of {episodes} episodes each, with 95% intervals:\n")
    print(table(results.tasks))
    if results.imagination is not None:
        print(f"\n{results.imagination}")
    report = (out / "report.html").resolve()
    print(f"\n{time.monotonic() - began:.0f} s in all\nreport: {report}")
    return results


def _lacking(world_model: WorldModel) -> set[str]:
    """Policies that the model cannot be."""
    return {
        *(["prior"] if world_model.prior is None else []),
        *([] if world_model.config.network.acts else ["joint"]),
    }


def success_table(tasks: Sequence[TaskResult]) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """`{"tasks": {task: {policy: {"success": k, "episodes": n}}}}`."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        row = found.setdefault(task.task, {})
        row[task.policy] = {"success": task.successes, "episodes": len(task.episodes)}
    return {"tasks": found}
