"""`selfflow probe`: a read-out of the robot's state, for planning towards positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..storage.keys import key
from .world_model import OfWorldModel

HELP = """Fit a linear probe: reads the robot's state out of a world model's features.

Reads a world model and an RLDS or LeRobot data set (data); the network stays as it is. Prints
the variance that the probe explains on held-out episodes, entry by entry, and writes its folder
(config.json, model.safetensors) to "out"; by default beside a model that is a folder, where it is
found by the name "state". Plan with it: "selfflow plan cost.probe=state cost.target.x=0.6".
"""


@dataclass(frozen=True)
class Config(OfWorldModel):
    data: DataConfig = field(default_factory=DataConfig)
    episodes: int = key("of each side of the split, at most", 400, least=1)
    out: Path | None = key("folder to write; MODEL/probes/state when null", None)


def run(config: Config) -> int:
    from selfflow_robotics.storage.model_folder import require_model_folder
    from selfflow_robotics.training.probe import probe_of
    from selfflow_robotics.world_model.probe import PROBES

    source = config.data.open_one()
    if config.out is None and not Path(config.world_model).is_dir():
        raise ValueError(f"{config.world_model} is no folder of yours to write to: add out=FOLDER")
    out = config.out or Path(config.world_model) / PROBES / "state"
    require_model_folder(out)
    probe_of(config.load_world_model(), source, config.world_model, config.episodes).save(out)
    print(f"wrote {out}")
    return 0
