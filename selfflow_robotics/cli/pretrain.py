"""`selfflow pretrain`: teaches the network general video, without actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from .dataset import open_video

HELP = """Pretrain the network on general video.

Reads video files (videos) or generated physics scenes (physics_episodes) and a tokenizer's folder;
writes the model (config.json, model.safetensors) and, in training/, checkpoints and curves under
out. With text_encoder the network is told the captions of videos (NAME.txt beside NAME.mp4, in
shards too). Run again with the same out, it resumes; SIGTERM and Ctrl-C save and leave. On several
GPUs:
torchrun --nproc-per-node 8 -m selfflow_robotics.cli.main pretrain device=cuda ...
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow pretrain`."""

    out: Path = field(metadata={"help": "folder to write", "was": ("output",)})
    tokenizer: Path = field(metadata={"help": "folder of a tokenizer, or of a model that has one"})
    videos: str | None = field(
        default=None, metadata={"help": "folder or glob of video files, or of shards (.tar)"}
    )
    frames: int = field(default=32, metadata={"from": 1, "help": "frames a clip, of videos"})
    rate_hz: float = field(default=5.0, metadata={"above": 0, "help": "frames a second, of videos"})
    max_broken: float = field(
        default=0.05, metadata={"to": 1, "help": "greatest share of videos that cannot be read"}
    )
    physics_episodes: int = field(default=0, metadata={"help": "generated episodes of 24 frames"})
    image_size: tuple[int, int] = field(
        default=(64, 80), metadata={"from": 1, "help": "height, width"}
    )
    start: Path | None = field(
        default=None, metadata={"help": "a model's folder, or the published image checkpoint (.pt)"}
    )
    cache: Path | None = field(default=None, metadata={"help": "folder that keeps latents"})
    text_encoder: str | None = field(
        default=None,
        metadata={"help": "a T5's, CLIP's, ... folder or name on the Hub, to read captions with"},
    )
    device: str = field(default="cpu", metadata={"help": "to train on: cpu, cuda, cuda:1, ..."})
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def run(config: Config) -> int:
    """Train on video and write the model."""
    from ..storage.model_folder import require_model_folder
    from ..training.pretrain import pretrain
    from ..training.ranks import join_ranks
    from ..training.recipe import load_tokenizer

    require_model_folder(config.out)
    cut = {key: getattr(config, key) for key in ("frames", "rate_hz", "max_broken")}
    size, seed = config.image_size, config.trainer.seed
    asked = {key: getattr(config, key) for key in ("tokenizer", "videos", "physics_episodes")}
    with join_ranks(config.device) as ranks:
        pretrain(
            config.out,
            tokenizer=load_tokenizer(None, config.tokenizer),
            sources=open_video(config.videos, config.physics_episodes, size, seed, **cut),
            image_size=size,
            start=config.start,
            cache=config.cache,
            text_encoder=config.text_encoder,
            model=config.model,
            objective=config.objective,
            trainer=config.trainer,
            ranks=ranks,
            opened_by=asked | cut,
        )
    return 0
