"""What can be chosen about a comparison of policies. Imports nothing heavy: help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.evaluation.bench import Bench
from selfflow_robotics.machine.precision import Precision
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.storage.keys import key


@dataclass(frozen=True)
class Comparison:
    """Policies side by side: which, in what, how often, and how imagined frames are judged."""

    bench: Bench | None = key(
        "a comparison fixed beforehand, where planning has something to gain; sets tasks, "
        "policies, planner, seed and num_envs where they are not given",
        None,
    )
    tasks: tuple[str, ...] = key("as PickCokeCan, or any Gymnasium id; all five when empty", ())
    policies: tuple[str, ...] = key(
        "which of planner, prior, joint, expert, random, zero; oracle: a planner with the "
        "simulator for its world model; random-choice: one of the planner's candidates; shuffled: "
        "the planner, its costs dealt out anew; true-frames: the planner, its candidates carried "
        "out in copies; or module:Class of your own",
        ("planner", "prior", "joint", "expert", "random", "zero"),
    )
    episodes: int = key("episodes a task and policy", 50, least=1)
    seed: int = key("of the first episode; then one more each", 10_000)
    num_envs: int = key("environments at a time", 10, least=1)
    prior: str = key("name of the policy prior beside the world model; its own when empty", "")
    image_size: tuple[int, int] | None = key(
        "height and width drawn; the world model's when null", None, least=1
    )
    places: Literal["usual", "shifted"] = key(
        "where robot and things start: as in training, or beyond that", "usual"
    )
    robot: Literal["primitive", "menagerie"] = key("body of the robot", "primitive")
    horizon: int = key("steps ahead for imagined frames", 4, least=1)
    videos: int = key("videos a task and policy in the report", 1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    mapping: EnvMapping = field(default_factory=EnvMapping)
