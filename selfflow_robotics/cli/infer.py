"""`selfflow infer`: which actions led from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .dataset import DataConfig, open_one

HELP = """Infer the actions of a data set's episodes from frames and proprioception.

Reads a world model and an RLDS or LeRobot data set (data) whose mapping describes the model's
actions; where there are none in it, the mapping's YAML says "actions: []". Writes the inferred
actions of every episode, (steps - 1, entries) in the environment's units, to "out" (.npz, an array
an episode), and prints their mean absolute error, where the true ones are known, beside that of
always naming the mean action.
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow infer`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, folder, or org/name of the Hub"}
    )
    data: DataConfig = field(default_factory=DataConfig)
    episodes: int = field(
        default=20, metadata={"from": 1, "help": "the first so many of the split"}
    )
    steps: int = field(default=4, metadata={"from": 1, "help": "passes of the network an action"})
    out: Path = field(
        default=Path("outputs/inferred.npz"), metadata={"help": "file to write (.npz)"}
    )
    device: str = field(default="cpu", metadata={"help": "of the world model: cpu, cuda"})


def run(config: Config) -> int:
    """Infer, write and compare; returns 0."""
    from ..evaluation.inferred import infer
    from ..storage.whole_file import require_writable
    from ..world_model.world_model import WorldModel

    if config.out.suffix != ".npz":
        raise ValueError(f"out={config.out}: give a file whose name ends in .npz")
    require_writable(config.out)
    source = open_one(config.data)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    found = infer(world_model, source, config.episodes, config.steps, config.world_model)
    found.save(config.out)
    print(found)
    print(f"wrote {config.out}")
    return 0
