"""`selfflow improve`: rounds in which a planner gets better by its own failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..improving.config import Improvement
from ..storage.keys import key
from .world_model import OfWorldModel

HELP = """Let a planner act, count how far each of its frames is from done, and fit its model anew.

Reads a world model and the data sets that it was trained on. In each round its planner and others
play the tasks, an expert or a teacher labels every frame, and critic, dynamics and (prior.steps, in
the last round) policy prior are trained on; then the planner plays starts that nothing is trained
on. Writes round-N/ with data, world and judged.json, and improve.json, the table over rounds, to
the folder "out". Run again with the same out, it goes on.
"""


@dataclass(frozen=True)
class Config(Improvement, OfWorldModel):
    out: Path = key("folder to write", Path("runs/improved"))
    data: DataConfig = field(default_factory=DataConfig)
    cache: Path | None = key("folder that keeps latents; in out when null", None)


def run(config: Config) -> int:
    from ..improving.rounds import improve

    data = config.data.open_all()
    rounds = improve(
        config.out, config.world_model, data, config, cache=config.cache, device=config.device
    )
    if rounds is not None:
        print(f"world model: {rounds[-1].world}\ntable: {config.out / 'improve.json'}")
    return 0
