"""`selfflow plan`: one plan, looked at closely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..machine.precision import Precision, use_threads
from ..planning.config import PlannerConfig
from ..planning.cost import CostConfig
from ..storage.keys import key
from ..storage.whole_file import require_writable
from .world_model import OfWorldModel

HELP = """Make one plan in one task, and show it beside what it leads to.

Reads a world model. Plays the task from its seed for "after" steps (by its expert), plans once,
prints the plan, its cost and its time, carries it out, and writes a video of what was imagined
beside what happened to "out". The goal is the task's instruction, a picture (goal), or values of
the robot's state that a probe reads (cost.probe, cost.target: see "selfflow probe").
"""


@dataclass(frozen=True)
class Config(OfWorldModel):
    task: str = key("to plan in", "PickCokeCan")
    seed: int = key("of the episode", 30_000)
    goal: Path | None = key("picture of what to reach; the instruction when null", None)
    after: int = key("steps that the expert plays before", 0)
    robot: Literal["primitive", "menagerie"] = key("body of the robot", "primitive")
    out: Path = key("video to write", Path("outputs/plan.mp4"))
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    cost: CostConfig = field(default_factory=CostConfig)


def run(config: Config) -> int:
    from ..evaluation.one_plan import plan_and_carry_out

    use_threads(config.threads)
    require_writable(config.out)
    found = plan_and_carry_out(
        config.load_world_model(),
        config.task,
        config.seed,
        config.after,
        goal=config.goal,
        cost=config.cost,
        planner=config.planner,
        robot=config.robot,
        precision=config.precision,
        name=config.world_model,
    )
    print(found)
    print(f"video: {found.save(config.out)}")
    return 0
