"""`selfflow pretrain`: teaches the network general video, without actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..storage.keys import key
from ..training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from .video import open_video

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
    out: Path = key("folder to write", was=("output",))
    tokenizer: Path = key("folder of a tokenizer, or of a model that has one")
    videos: str | None = key("folder or glob of video files, or of shards (.tar)", None)
    frames: int = key("frames a clip, of videos", 32, least=1)
    rate_hz: float = key("frames a second, of videos", 5.0, above=0)
    max_broken: float = key("greatest share of videos that cannot be read", 0.05, most=1)
    physics_episodes: int = key("generated episodes of 24 frames", 0)
    image_size: tuple[int, int] = key("height, width", (64, 80), least=1)
    start: Path | None = key("a model's folder, or the published image checkpoint (.pt)", None)
    cache: Path | None = key("folder that keeps latents", None)
    text_encoder: str | None = key(
        "a T5's, CLIP's, ... folder or name on the Hub, to read captions with", None
    )
    device: str = key("to train on: cpu, cuda, cuda:1, ...", "cpu")
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)


def run(config: Config) -> int:
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
