"""`selfflow tokenizer`: makes what turns frames into latents."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .dataset import DataConfig, open_one, open_video

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
    """Keys of `selfflow tokenizer`."""

    out: Path = field(
        metadata={"help": "folder to write; an older tokenizer is replaced", "was": ("output",)}
    )
    data: DataConfig = field(default_factory=DataConfig)
    videos: str | None = field(
        default=None, metadata={"help": "folder or glob of video files, or of shards (.tar)"}
    )
    max_broken: float = field(
        default=0.05, metadata={"to": 1, "help": "greatest share of videos that cannot be read"}
    )
    physics_episodes: int = field(default=0, metadata={"help": "generated episodes of 24 frames"})
    image_size: tuple[int, int] = field(
        default=(64, 80), metadata={"from": 1, "help": "height, width"}
    )
    max_frames: int = field(
        default=40000,
        metadata={"from": 1, "help": "frames kept in memory of each source, spread evenly"},
    )
    start: str | None = field(
        default=None,
        metadata={"help": "tokenizer to continue from, with its sizes; sd-vae, wan: what to take"},
    )
    kind: Literal["autoencoder", "patches", "sd-vae", "wan"] = field(
        default="autoencoder",
        metadata={"help": "patches: pixels as they are, no training; sd-vae, wan: of diffusers"},
    )
    factor: int = field(default=8, metadata={"from": 1, "help": "pixels along a side of a patch"})
    channels: int = field(default=16, metadata={"from": 1, "help": "channels of a latent"})
    widths: tuple[int, ...] = field(
        default=(32, 64, 96),
        metadata={"from": 1, "help": "of each level; each level halves the resolution"},
    )
    noise: float = field(default=0.2, metadata={"help": "greatest noise on latents in training"})
    moving: float = field(default=10.0, metadata={"help": "extra weight of pixels that move"})
    detail: float = field(
        default=5.0, metadata={"help": "extra weight of pixels unlike others near"}
    )
    gradient: float = field(default=0.5, metadata={"help": "weight of neighbours' differences"})
    steps: int = field(default=6000, metadata={"help": "optimizer steps"})
    batch_size: int = field(default=16, metadata={"from": 1, "help": "frames a step"})
    lr: float = field(default=3e-3, metadata={"above": 0, "help": "greatest learning rate"})
    seed: int = field(default=0, metadata={"help": "of weights, batches, noise and scenes"})
    device: str = field(default="cpu", metadata={"help": "cpu, cuda, cuda:1, ..."})


def run(config: Config) -> int:
    """Trains, measures on held-out episodes and writes."""
    from selfflow_robotics.machine.precision import usable
    from selfflow_robotics.storage.model_folder import require_model_folder
    from selfflow_robotics.tokenizers.autoencoder import AutoencoderConfig
    from selfflow_robotics.tokenizers.train import Loss
    from selfflow_robotics.training.tokenizer import scale_patches, take_over, train_tokenizer

    require_model_folder(config.out)
    usable(config.device)
    size, seed, device = config.image_size, config.seed, config.device
    sources: list[EpisodeSource] = [open_one(config.data)] if config.data.path else []
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
