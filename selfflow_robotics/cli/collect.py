"""`selfflow collect`: episodes of the tasks, played by experts and others, as an RT-1 data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..planning.config import PlannerConfig
from ..storage.keys import key

HELP = """Record episodes of the tasks as a data set with RT-1's features.

Experts, perturbed experts, experts that stray or take over from a world model's policy prior or
planner, and random play run in parallel processes. Writes a TFDS data set (as ArrayRecord, or as
TFRecord) to the folder "out", with action_spec.json, statistics, which actions are to be imitated
(demonstrated.json), and with labels= the steps that an expert still needs from each frame
(steps_left.json), beside the shards. The same seed gives the same data, whatever the number of
workers.
"""


@dataclass(frozen=True)
class Config:
    out: Path = key("folder to write; must not exist", Path("data/tabletop"))
    tasks: tuple[str, ...] = key("which tasks, as PickCokeCan; all when empty", ())
    episodes: int = key("episodes a task", 200, least=1)
    episodes_of: dict[str, int] = key(
        "another number for one task: episodes_of.OpenDrawerAndPlace=400", dict
    )
    players: dict[str, float] = key(
        "share of episodes in which one plays, as players.planner=0.5: perturbed, random, wander, "
        "shut, fumble, planner, alone, intervened; experts do the rest",
        lambda: {"perturbed": 0.45, "random": 0.25},
        most=1,
    )
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    world_model: str | None = key(
        "whose prior and planner: a shipped name, a folder, or org/name", None
    )
    random_steps: int = key("steps of an episode of random play", 40, least=1)
    labels: Literal["none", "expert", "teacher"] = key(
        "steps an expert still needs from each frame: expert plays all out, teacher learns from "
        "some",
        "none",
    )
    image_size: tuple[int, int] = key("height and width of the images", (64, 80), least=1)
    robot: Literal["primitive", "menagerie"] = key("body of the robot", "primitive")
    container: Literal["array_record", "tfrecord"] = key(
        "array_record for random access, tfrecord for tf.data programs", "array_record"
    )
    seed: int = key("decides everything", 0)
    workers: int | None = key("processes; one a CPU when null", None, least=1, most=1024)


def run(config: Config) -> int:
    from ..collecting.assignments import SHARES
    from ..collecting.collect import collect
    from ..collecting.workers import Playing

    collect(
        config.out,
        config.tasks,
        config.episodes,
        config.episodes_of,
        playing=Playing(
            config.seed,
            config.image_size,
            config.robot,
            config.random_steps,
            config.world_model,
            config.labels,
            planner=config.planner,
        ),
        container=config.container,
        workers=config.workers,
        **dict.fromkeys(SHARES, 0.0) | config.players,
    )
    return 0
