"""`selfflow prior`: a weaker policy prior beside a world model, for planning to improve on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..storage.keys import key
from ..training.config import PriorTraining
from .world_model import OfWorldModel

HELP = """Fit a policy prior to a share of the demonstrations, none of them with corrections.

Reads a world model and a data set (data); all else of the model stays as it is. The folder that it
writes (config.json, model.safetensors) lies in MODEL/priors, named by the share in percent, where
"selfflow evaluate bench=prior_5" and "bench=prior_20" find it.
"""


@dataclass(frozen=True)
class Config(OfWorldModel):
    data: DataConfig = field(default_factory=DataConfig)
    share: float = key("of the demonstrations, of each kind of instruction", 0.05, above=0, most=1)
    prior: PriorTraining = field(default_factory=lambda: PriorTraining(steps=4_000))
    out: Path | None = key("folder to write; MODEL/priors/PERCENT when null", None)


def run(config: Config) -> int:
    from ..storage.model_folder import require_model_folder
    from ..training.weak_prior import weak_prior
    from ..world_model.priors import PRIORS, percent, save_prior

    source = config.data.open_one()
    if config.out is None and not Path(config.world_model).is_dir():
        raise ValueError(f"{config.world_model} is no folder of yours to write to: add out=FOLDER")
    out = config.out or Path(config.world_model) / PRIORS / percent(config.share)
    require_model_folder(out)
    world_model = config.load_world_model()
    prior = weak_prior(world_model, source, config.world_model, config.share, config.prior)
    save_prior(prior, world_model, out)
    print(f"wrote {out}")
    return 0
