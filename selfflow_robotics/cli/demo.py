"""`selfflow demo`: the shipped world model plans in all tasks."""

from __future__ import annotations

import json as json_text
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from selfflow_robotics.machine.precision import Precision, use_threads
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.storage.whole_file import require_writable

if TYPE_CHECKING:
    from selfflow_robotics.evaluation.results import TaskResult

HELP = """Plan with the shipped world model in all five tasks, beside an expert and random play.

Reads the shipped weights; nothing is downloaded. Prints success per task and policy and writes
results.json and report.html (tables, plots, videos of imagination beside what happened) to the
folder "out". "--json FILE" writes the success table as JSON too.
"""

_TOLD_ELSEWHERE = ("world_model", "tasks", "episodes", "seed", "out", "json")
POLICIES = ("random", "expert", "joint", "prior", "planner")


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow demo`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, or the folder of a model"}
    )
    tasks: tuple[str, ...] = field(default=(), metadata={"help": "all five when empty"})
    episodes: int = field(default=3, metadata={"from": 1, "help": "episodes a task and policy"})
    seed: int = field(default=20_000, metadata={"help": "of the first episode"})
    out: Path = field(default=Path("outputs/demo"), metadata={"help": "folder to write"})
    json: Path | None = field(default=None, metadata={"help": "file for the success table"})
    horizon: int = field(default=4, metadata={"from": 1, "help": "steps ahead for imagined frames"})
    threads: int | None = field(
        default=None,
        metadata={"from": 1, "help": "of the processor, for the world model; all when null"},
    )
    precision: Precision = field(
        default="auto", metadata={"help": "numbers to compute with; auto: bf16 where it is faster"}
    )
    planner: PlannerConfig = field(default_factory=PlannerConfig)


def run(config: Config) -> int:
    """Run the demo; returns 0.

    Raises:
        FileNotFoundError: the shipped weights are not there.
    """
    from selfflow_robotics.envs.names import task_ids
    from selfflow_robotics.evaluation.comparison import (
        Comparison,
        compare,
        imagination_table,
        judge_and_report,
        options_of,
        table,
    )
    from selfflow_robotics.storage.whole_file import write_whole
    from selfflow_robotics.world_model.world_model import WorldModel

    began = time.monotonic()
    use_threads(config.threads)
    if config.json is not None:
        require_writable(config.json)
    try:
        world_model = WorldModel.from_pretrained(config.world_model)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"the weights of the demo are missing: {error}. Install from a full checkout or wheel, "
            "or train a model and give its folder: world_model=FOLDER"
        ) from error
    tasks = task_ids(config.tasks)
    results = compare(
        Comparison(
            tasks=tasks,
            policies=tuple(p for p in POLICIES if p != "prior" or world_model.prior is not None),
            seeds=tuple(range(config.seed, config.seed + config.episodes)),
            num_envs=config.episodes,
            image_size=world_model.camera_size,
            planner=config.planner,
            record=config.episodes,
            precision=config.precision,
            options=options_of(config, _TOLD_ELSEWHERE),
        ),
        world_model,
        config.world_model,
        config.out,
    )
    results = judge_and_report(results, world_model, config.out, config.horizon, max_clips=96)
    if config.json is not None:
        write_whole(config.json, json_text.dumps(success_table(results.tasks), indent=1) + "\n")
    print(f"\nsuccess of {config.episodes} episodes each, with 95% intervals:\n")
    print(table(results.tasks))
    if results.imagination is not None:
        print("\n" + imagination_table(results.imagination))
    report = (config.out / "report.html").resolve()
    print(f"\n{time.monotonic() - began:.0f} s in all\nreport: {report}")
    return 0


def success_table(tasks: Sequence[TaskResult]) -> dict[str, dict[str, dict[str, dict[str, int]]]]:
    """`{"tasks": {task: {policy: {"success": k, "episodes": n}}}}`."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for task in tasks:
        row = found.setdefault(task.task, {})
        row[task.policy] = {"success": task.successes, "episodes": len(task.episodes)}
    return {"tasks": found}
