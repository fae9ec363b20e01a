"""`selfflow tokenizer`: makes what turns frames into latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..data.config import DataConfig
from ..storage.keys import key
from .video import open_video

if TYPE_CHECKING:
    from selfflow_robotics.data.episode import EpisodeSource

HELP = """Train the autoencoder that turns frames into latents and back, or take over another one.

Reads frames of an RLDS or LeRobot data set (data), of video files (videos) and of generated physics
scenes (physics_episodes), whichever are given; writes a folder with config.json and
model.safetensors under out, and says how well held-out frames come back (PSNR in dB, over all
pixels and over those that move). kind=sd-vae and kind=wan take an autoencoder that diffusers wrote
from start, a folder or a repository of the Hub, and need no frames.
"""


@dataclass(frozen=True)
class Config:
    out: Path = key("folder to write; an older tokenizer is replaced", was=("output",))
    data: DataConfig = field(default_factory=DataConfig)
    videos: str | None = key("folder or glob of video files, or of shards (.tar)", None)
    max_broken: float = key("greatest share of videos that cannot be read", 0.05, most=1)
    physics_episodes: int = key("generated episodes of 24 frames", 0)
    image_size: tuple[int, int] = key("height, width", (64, 80), least=1)
    max_frames: int = key("frames kept in memory of each source, spread evenly", 40000, least=1)
    start: str | None = key(
        "tokenizer to continue from, with its sizes; sd-vae, wan: what to take", None
    )
    kind: Literal["autoencoder", "patches", "sd-vae", "wan"] = key(
        "patches: pixels as they are, no training; sd-vae, wan: of diffusers", "autoencoder"
    )
    factor: int = key("pixels along a side of a patch", 8, least=1)
    channels: int = key("channels of a latent", 16, least=1)
    widths: tuple[int, ...] = key(
        "of each level; each level halves the resolution", (32, 64, 96), least=1
    )
    noise: float = key("greatest noise on latents in training", 0.2)
    moving: float = key("extra weight of pixels that move", 10.0)
    detail: float = key("extra weight of pixels unlike others near", 5.0)
    gradient: float = key("weight of neighbours' differences", 0.5)
    steps: int = key("optimizer steps", 6000)
    batch_size: int = key("frames a step", 16, least=1)
    lr: float = key("greatest learning rate", 3e-3, above=0)
    seed: int = key("of weights, batches, noise and scenes", 0)
    device: str = key("cpu, cuda, cuda:1, ...", "cpu")


def run(config: Config) -> int:
    from selfflow_robotics.machine.precision import usable
    from selfflow_robotics.storage.model_folder import require_model_folder
    from selfflow_robotics.tokenizers.autoencoder import AutoencoderConfig
    from selfflow_robotics.tokenizers.train import Loss
    from selfflow_robotics.training.tokenizer import scale_patches, take_over, train_tokenizer

    require_model_folder(config.out)
    usable(config.device)
    size, seed, device = config.image_size, config.seed, config.device
    sources: list[EpisodeSource] = [config.data.open_one()] if config.data.path else []
    sources += open_video(
        config.videos, config.physics_episodes, size, seed, max_broken=config.max_broken
    )
    frames = sources, size, config.max_frames
    if config.kind in ("sd-vae", "wan"):
        take_over(config.out, config.kind, config.start, *frames, seed=seed, device=device)
    elif config.kind == "patches":
        scale_patches(config.out, *frames, factor=config.factor, seed=seed)
    else:
        train_tokenizer(
            config.out,
            *frames,
            start=config.start,
            sizes=AutoencoderConfig(config.channels, config.widths),
            loss=Loss(config.moving, config.detail, config.gradient, config.noise),
            steps=config.steps,
            batch_size=config.batch_size,
            lr=config.lr,
            seed=seed,
            device=device,
        )
    return 0
