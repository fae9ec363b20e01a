"""`selfflow plan`: one plan, looked at closely."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfflow_robotics.machine.precision import Precision, computing, use_threads
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.planning.cost import CostConfig
from selfflow_robotics.storage.whole_file import require_writable

from ..storage.keys import key

HELP = """Make one plan in one task, and show it beside what it leads to.

Reads a world model. Plays the task from its seed for "after" steps (by its expert), plans once,
prints the plan, its cost and its time, carries it out, and writes a video of what was imagined
beside what happened to "out". The goal is the task's instruction, a picture (goal), or values of
the robot's state that a probe reads (cost.probe, cost.target: see "selfflow probe").
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow plan`."""

    world_model: str = key("shipped name, folder, or org/name of the Hub", "tabletop-small")
    task: str = key("to plan in", "PickCokeCan")
    seed: int = key("of the episode", 30_000)
    goal: Path | None = key("picture of what to reach; the instruction when null", None)
    after: int = key("steps that the expert plays before", 0)
    robot: Literal["primitive", "menagerie"] = key("body of the robot", "primitive")
    out: Path = key("video to write", Path("outputs/plan.mp4"))
    device: str = key("of the world model: cpu, cuda", "cpu")
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    cost: CostConfig = field(default_factory=CostConfig)


def run(config: Config) -> int:
    """Plan, print and write; returns 0.

    Raises:
        FileNotFoundError: no such model.
        ValueError: an unknown task, or one that ends before the plan starts.
    """
    from selfflow_robotics.data.action_spec import RT1_ACTIONS
    from selfflow_robotics.envs.names import own_task
    from selfflow_robotics.evaluation.one_plan import plan_and_carry_out
    from selfflow_robotics.evaluation.video.writing import side_by_side, write_video
    from selfflow_robotics.planning.config import make_solver
    from selfflow_robotics.planning.cost import make_objective
    from selfflow_robotics.world_model.world_model import WorldModel

    use_threads(config.threads)
    task = own_task(config.task)
    require_writable(config.out)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    world_model.step_spec.require_match(RT1_ACTIONS, config.world_model, task)
    with computing(config.precision, config.device):
        objective = make_objective(
            world_model, config.world_model, config.cost, config.goal, config.planner
        )
        solver = make_solver(world_model, config.planner, objective)
    found = plan_and_carry_out(
        world_model, solver, task, config.seed, config.after, config.robot, config.precision
    )
    print(f"{task}, seed {config.seed}, step {config.after}: {found.instruction}")
    print(found.table(world_model.step_spec))
    video = side_by_side([("happened", found.happened), ("imagined", found.imagined)])
    print(f"video: {write_video(config.out, video, fps=world_model.step_spec.rate_hz)}")
    return 0
