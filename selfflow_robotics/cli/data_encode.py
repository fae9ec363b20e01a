"""`selfflow data encode`: encodes a data set once, for training to read latents and no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .dataset import DataConfig, open_all, open_video

HELP = """Encode a data set's frames once, for training to read.

Reads an RLDS or LeRobot data set (data), or videos (videos: a folder or glob of video files, or of
WebDataset shards, *.tar, also gs://... and the like), and a tokenizer's folder; writes a folder of
latents for each under out, in parts. Training reads them with cache=OUT where data, tokenizer and
image size are the same; with another tokenizer they are refused. Killed and run again, it goes on
where it was.
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow data encode`."""

    out: Path = field(metadata={"help": "folder of latents, the cache of training"})
    tokenizer: Path = field(metadata={"help": "folder of a tokenizer, or of a model that has one"})
    data: DataConfig = field(default_factory=DataConfig)
    videos: str | None = field(
        default=None, metadata={"help": "folder or glob of video files, or of shards (.tar)"}
    )
    image_size: tuple[int, int] | None = field(
        default=None,
        metadata={
            "from": 1,
            "help": "height, width; null: the data's, made to fit, and [64,80] of videos",
        },
    )
    image_fit: Literal["crop", "pad"] = field(
        default="crop", metadata={"help": "what becomes of images of other proportions, in data"}
    )
    patch: int = field(
        default=2,
        metadata={"from": 1, "to": 64, "help": "model.patch of the training, for what fits"},
    )
    frames: int = field(default=32, metadata={"from": 1, "help": "frames a clip, of videos"})
    rate_hz: float = field(default=5.0, metadata={"above": 0, "help": "frames a second, of videos"})
    max_broken: float = field(
        default=0.05, metadata={"to": 1, "help": "greatest share of videos that cannot be read"}
    )
    part: int = field(
        default=256, metadata={"from": 1, "help": "episodes a part; a kill loses one at most"}
    )
    workers: int = field(
        default=2, metadata={"to": 1024, "help": "processes that read and decode; 0: none"}
    )
    ray: str | None = field(
        default=None, metadata={"help": "local, or a cluster's address: parts are spread over it"}
    )
    device: str = field(default="cpu", metadata={"help": "cpu, cuda, ... (with ray: of each task)"})


def run(config: Config) -> int:
    """Encode what is given and does not lie there yet."""
    from ..data.latents.for_training import encode_for_training
    from ..data.latents.on_ray import spread_over
    from ..tokenizers import stored

    here = config.device if config.ray is None else "cpu"
    cut = {key: getattr(config, key) for key in ("frames", "rate_hz", "max_broken")}
    encode_for_training(
        config.out,
        stored.load(config.tokenizer, here).requires_grad_(False),
        open_all(config.data),
        open_video(config.videos, 0, config.image_size or (64, 80), 0, **cut),
        image_size=config.image_size,
        image_fit=config.image_fit,
        patch=config.patch,
        part_episodes=config.part,
        workers=config.workers,
        spread=None if config.ray is None else spread_over(config.ray, config.device),
    )
    print(f"wrote {config.out}")
    return 0
