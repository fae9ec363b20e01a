"""`selfflow finetune`: trains an action-conditioned world model on a robot's episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..training.config import ModelConfig, ObjectiveConfig, PriorTraining, TrainerConfig
from .dataset import DataConfig, open_all

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

    repeat: dict[str, int] = field(
        default_factory=dict,
        metadata={
            "from": 1,
            "help": "clips of one instruction more often, by its first word: repeat.pick=4",
        },
    )


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow finetune`."""

    out: Path = field(metadata={"help": "folder to write", "was": ("output",)})
    data: TrainingData = field(default_factory=TrainingData)
    start: Path | None = field(
        default=None, metadata={"help": "a pretrained model's folder, or the image checkpoint"}
    )
    tokenizer: Path | None = field(default=None, metadata={"help": "default: that of start"})
    cache: Path | None = field(default=None, metadata={"help": "folder that keeps latents"})
    image_size: tuple[int, int] | None = field(
        default=None,
        metadata={"from": 1, "help": "height, width to train at; null: the data's, made to fit"},
    )
    image_fit: Literal["crop", "pad"] = field(
        default="crop", metadata={"help": "what becomes of images of other proportions"}
    )
    device: str = field(default="cpu", metadata={"help": "to train on: cpu, cuda, cuda:1, ..."})
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    prior: PriorTraining = field(default_factory=PriorTraining)

    @property
    def output(self) -> Path:
        """The older name of `out`."""
        return self.out


def run(config: Config) -> int:
    """Train on episodes and write the world model."""
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
            open_all(data),
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
            ranks=ranks,
            opened_by={"data.path": data.path, "data.mapping": data.mapping, "tokenizer": given},
        )
    return 0
