"""`selfflow estimate`: what a training run takes, before it is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..storage.keys import key
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
    gpus: int = key("over which FSDP2 spreads the model", 1, least=1)
    device: Literal["cuda", "cpu"] = key("cuda, or cpu: the machine's memory", "cuda")
    image_size: tuple[int, int] = key("height, width", (64, 80), least=1)
    factor: int = key("pixels along each side of a latent's cell", 8, least=1)
    channels: int = key("of a latent", 16, least=1)
    temporal: int = key("steps that a latent frame spans", 1, least=1)
    words: int = key("different words in a robot's instructions; 0: pretraining on video", 0)
    text_width: int = key("of text_encoder's vectors (t5-base: 768); 0: no captions", 0)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def run(config: Config) -> int:
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
