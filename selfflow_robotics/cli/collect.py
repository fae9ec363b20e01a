"""`selfflow collect`: episodes of the tasks, played by experts and others, as an RT-1 data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
    perturbed: float = key("share of episodes with a perturbed expert", 0.45, most=1)
    intervened: float = key("share in which experts take over from a prior's mistakes", 0.0, most=1)
    wander: float = key("share in which experts stray, then finish undisturbed", 0.0, most=1)
    shut: float = key("the same, straying with the gripper shut on nothing", 0.0, most=1)
    planner: float = key("share in which a planner acts, then the expert or nobody", 0.0, most=1)
    world_model: str | None = key(
        "whose prior and planner: a shipped name, a folder, or org/name", None
    )
    random: float = key("share of episodes of random play; experts do the rest", 0.25, most=1)
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
    from ..collecting.collect import collect
    from ..collecting.workers import Playing

    collect(
        config.out,
        config.tasks,
        config.episodes,
        config.episodes_of,
        perturbed=config.perturbed,
        random=config.random,
        intervened=config.intervened,
        wander=config.wander,
        shut=config.shut,
        planner=config.planner,
        playing=Playing(
            config.seed,
            config.image_size,
            config.robot,
            config.random_steps,
            config.world_model,
            config.labels,
        ),
        container=config.container,
        workers=config.workers,
    )
    return 0
