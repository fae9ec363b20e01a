"""`selfflow infer`: which actions led from frame to frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..storage.keys import key
from .world_model import OfWorldModel

HELP = """Infer the actions of a data set's episodes from frames and proprioception.

Reads a world model and an RLDS or LeRobot data set (data) whose mapping describes the model's
actions; where there are none in it, the mapping's YAML says "actions: []". Writes the inferred
actions of every episode, (steps - 1, entries) in the environment's units, to "out" (.npz, an array
an episode), and prints their mean absolute error, where the true ones are known, beside that of
always naming the mean action.
"""


@dataclass(frozen=True)
class Config(OfWorldModel):
    data: DataConfig = field(default_factory=DataConfig)
    episodes: int = key("the first so many of the split", 20, least=1)
    steps: int = key("passes of the network an action", 4, least=1)
    out: Path = key("file to write (.npz)", Path("outputs/inferred.npz"))


def run(config: Config) -> int:
    from ..evaluation.inferred import infer
    from ..storage.whole_file import require_writable

    if config.out.suffix != ".npz":
        raise ValueError(f"out={config.out}: give a file whose name ends in .npz")
    require_writable(config.out)
    source = config.data.open_one()
    world_model = config.load_world_model()
    found = infer(world_model, source, config.episodes, config.steps, config.world_model)
    found.save(config.out)
    print(found)
    print(f"wrote {config.out}")
    return 0
