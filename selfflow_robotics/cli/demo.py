"""`selfflow demo`: the shipped world model plans in all tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from selfflow_robotics.machine.precision import Precision, use_threads
from selfflow_robotics.planning.config import PlannerConfig

HELP = """Plan with the shipped world model in all five tasks, beside an expert and random play.

Reads the shipped weights; nothing is downloaded. Prints success per task and policy and writes
results.json and report.html (tables, plots, videos of imagination beside what happened) to the
folder "out". "--json FILE" writes the success table as JSON too.
"""

_TOLD_ELSEWHERE = ("world_model", "tasks", "episodes", "seed", "out", "json")


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
    """Run the demo; returns 0."""
    from selfflow_robotics.evaluation.comparison import options_of
    from selfflow_robotics.evaluation.demo import demo

    use_threads(config.threads)
    demo(
        config.out,
        config.world_model,
        config.tasks,
        config.episodes,
        config.seed,
        planner=config.planner,
        horizon=config.horizon,
        precision=config.precision,
        json=config.json,
        options=options_of(config, _TOLD_ELSEWHERE),
    )
    return 0
