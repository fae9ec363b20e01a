"""`selfflow estimate`: what a training run takes, before it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..training.config import ModelConfig, ObjectiveConfig, TrainerConfig

HELP = """Predict parameters, FLOPs and memory of a training run.

Takes the keys of "selfflow pretrain" and "selfflow finetune", with the sizes of data and tokenizer
in place of the data. Reads and writes nothing, allocates nothing and needs no GPU; prints. Memory
is what tensors take on each GPU, without trainer.compile, which saves some; the CUDA context comes
on top, and trainer.precision=auto counts as bf16. With device=cpu it is the machine's memory, and
the program's own is part of it.
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow estimate`."""

    gpus: int = field(default=1, metadata={"from": 1, "help": "over which FSDP2 spreads the model"})
    device: Literal["cuda", "cpu"] = field(
        default="cuda", metadata={"help": "cuda, or cpu: the machine's memory"}
    )
    image_size: tuple[int, int] = field(
        default=(64, 80), metadata={"from": 1, "help": "height, width"}
    )
    factor: int = field(
        default=8, metadata={"from": 1, "help": "pixels along each side of a latent's cell"}
    )
    channels: int = field(default=16, metadata={"from": 1, "help": "of a latent"})
    temporal: int = field(
        default=1, metadata={"from": 1, "help": "steps that a latent frame spans"}
    )
    words: int = field(
        default=0,
        metadata={"help": "different words in a robot's instructions; 0: pretraining on video"},
    )
    text_width: int = field(
        default=0, metadata={"help": "of text_encoder's vectors (t5-base: 768); 0: no captions"}
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def run(config: Config) -> int:
    """Print the estimate."""
    from ..machine.precision import resident_bytes, resolve
    from ..training.estimate import Task, estimate

    trainer = config.trainer
    task = Task(
        config.model,
        config.objective,
        config.image_size,
        config.factor,
        config.channels,
        trainer.frames,
        config.words,
        trainer.recompute_every,
        config.temporal,
        config.text_width,
    )
    on_cpu = config.device == "cpu"
    bf16 = resolve(trainer.precision, "cpu") == "bf16" if on_cpu else trainer.precision != "fp32"
    found = estimate(task, trainer.batch_size, config.gpus, trainer.accumulate, bf16, on_cpu=on_cpu)
    print(found.told(config.gpus, resident_bytes() if on_cpu else None))
    return 0
