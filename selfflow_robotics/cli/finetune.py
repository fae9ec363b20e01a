"""`selfflow finetune`: trains an action-conditioned world model on a robot's episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data.config import DataConfig
from ..storage.keys import key
from ..training.config import (
    CriticTraining,
    ModelConfig,
    ObjectiveConfig,
    PriorTraining,
    TrainerConfig,
)

HELP = """Train an action-conditioned world model on a robot's episodes.

Reads an RLDS or LeRobot data set (data) and the model to start from (start), or a tokenizer;
writes the world model (config.json, model.safetensors) and, in training/, its settings, checkpoints
and curves under out. Run again with the same out, it resumes; SIGTERM and Ctrl-C save and leave.
Images are made image_size, or else what divides into tokens. On several GPUs:
torchrun --nproc-per-node 8 -m selfflow_robotics.cli.main finetune device=cuda ...
"""


@dataclass(frozen=True)
class TrainingData(DataConfig):
    """Which episodes. Of several data sets, the first's statistics normalise."""

    repeat: dict[str, int] = key(
        "clips of one instruction more often, by its first word: repeat.pick=4",
        dict,
        least=1,
    )


@dataclass(frozen=True)
class Config:
    out: Path = key("folder to write", was=("output",))
    data: TrainingData = field(default_factory=TrainingData)
    start: Path | None = key("a pretrained model's folder, or the image checkpoint", None)
    tokenizer: Path | None = key("default: that of start", None)
    cache: Path | None = key("folder that keeps latents", None)
    image_size: tuple[int, int] | None = key(
        "height, width to train at; null: the data's, made to fit", None, least=1
    )
    image_fit: Literal["crop", "pad"] = key("what becomes of images of other proportions", "crop")
    device: str = key("to train on: cpu, cuda, cuda:1, ...", "cpu")
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    prior: PriorTraining = field(default_factory=PriorTraining)
    critic: CriticTraining = field(default_factory=CriticTraining)

    @property
    def output(self) -> Path:
        """The older name of `out`."""
        return self.out


def run(config: Config) -> int:
    from ..storage.model_folder import require_model_folder
    from ..training.finetune import finetune
    from ..training.ranks import join_ranks
    from ..training.recipe import load_tokenizer

    require_model_folder(config.out)
    data = config.data
    given = config.tokenizer
    with join_ranks(config.device) as ranks:
        finetune(
            config.out,
            data.open_all(),
            tokenizer=None if given is None else load_tokenizer(None, given),
            start=config.start,
            cache=config.cache,
            image_size=config.image_size,
            image_fit=config.image_fit,
            repeat=data.repeat,
            model=config.model,
            objective=config.objective,
            trainer=config.trainer,
            prior=config.prior,
            critic=config.critic,
            ranks=ranks,
            opened_by={"data.path": data.path, "data.mapping": data.mapping, "tokenizer": given},
        )
    return 0
