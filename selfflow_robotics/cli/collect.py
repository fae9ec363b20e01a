"""`selfflow collect`: episodes of the tasks, played by experts and others, as an RT-1 data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HELP = """Record episodes of the tasks as a data set with RT-1's features.

Experts, perturbed experts, experts that take over from a world model's policy prior, and random
play run in parallel processes. Writes a TFDS data set (as ArrayRecord, or as TFRecord) to the
folder "out", with action_spec.json, statistics, and which actions are to be imitated
(demonstrated.json), beside the shards. The same seed gives the same data, whatever the number of
workers.
"""


@dataclass(frozen=True)
class Config:
    """Configuration of `selfflow collect`."""

    out: Path = field(
        default=Path("data/tabletop"), metadata={"help": "folder to write; must not exist"}
    )
    tasks: tuple[str, ...] = field(
        default=(), metadata={"help": "which tasks, as PickCokeCan; all when empty"}
    )
    episodes: int = field(default=200, metadata={"from": 1, "help": "episodes a task"})
    episodes_of: dict[str, int] = field(
        default_factory=dict,
        metadata={"help": "another number for one task: episodes_of.OpenDrawerAndPlace=400"},
    )
    perturbed: float = field(
        default=0.45, metadata={"to": 1, "help": "share of episodes with a perturbed expert"}
    )
    intervened: float = field(
        default=0.0,
        metadata={"to": 1, "help": "share in which experts take over from a prior's mistakes"},
    )
    world_model: str | None = field(
        default=None, metadata={"help": "whose prior: a shipped name, a folder, or org/name"}
    )
    random: float = field(
        default=0.25,
        metadata={"to": 1, "help": "share of episodes of random play; experts do the rest"},
    )
    random_steps: int = field(
        default=40, metadata={"from": 1, "help": "steps of an episode of random play"}
    )
    image_size: tuple[int, int] = field(
        default=(64, 80), metadata={"from": 1, "help": "height and width of the images"}
    )
    robot: Literal["primitive", "menagerie"] = field(
        default="primitive", metadata={"help": "body of the robot"}
    )
    container: Literal["array_record", "tfrecord"] = field(
        default="array_record",
        metadata={"help": "array_record for random access, tfrecord for tf.data programs"},
    )
    seed: int = field(default=0, metadata={"help": "decides everything"})
    workers: int | None = field(
        default=None, metadata={"from": 1, "to": 1024, "help": "processes; one a CPU when null"}
    )


def run(config: Config) -> int:
    """Record and write; returns 0."""
    from ..collecting.collect import collect
    from ..collecting.workers import Playing

    collect(
        config.out,
        config.tasks,
        config.episodes,
        config.episodes_of,
        perturbed=config.perturbed,
        intervened=config.intervened,
        random=config.random,
        playing=Playing(
            config.seed, config.image_size, config.robot, config.random_steps, config.world_model
        ),
        container=config.container,
        workers=config.workers,
    )
    return 0
