"""`selfflow demo`: the shipped world model plans in all tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from selfflow_robotics.machine.precision import Precision, use_threads
from selfflow_robotics.planning.config import PlannerConfig

from ..storage.keys import key

HELP = """Plan with the shipped world model in all five tasks, beside an expert and random play.

Reads the shipped weights; nothing is downloaded. Prints success per task and policy and writes
results.json and report.html (tables, plots, videos of imagination beside what happened) to the
folder "out". "--json FILE" writes the success table as JSON too.
"""


@dataclass(frozen=True)
class Config:
    world_model: str = key("shipped name, or the folder of a model", "tabletop-small")
    tasks: tuple[str, ...] = key("all five when empty", ())
    episodes: int = key("episodes a task and policy", 3, least=1)
    seed: int = key("of the first episode", 20_000)
    out: Path = key("folder to write", Path("outputs/demo"))
    json: Path | None = key("file for the success table", None)
    horizon: int = key("steps ahead for imagined frames", 4, least=1)
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)


def run(config: Config) -> int:
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
        options=options_of(config),
    )
    return 0
