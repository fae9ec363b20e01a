"""`selfflow data encode`: encodes a data set once, for training to read latents and no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data.config import DataConfig
from ..storage.keys import key
from .video import open_video

HELP = """Encode a data set's frames once, for training to read.

Reads an RLDS or LeRobot data set (data), or videos (videos: a folder or glob of video files, or of
WebDataset shards, *.tar, also gs://... and the like), and a tokenizer's folder; writes a folder of
latents for each under out, in parts. Training reads them with cache=OUT where data, tokenizer and
image size are the same; with another tokenizer they are refused. Killed and run again, it goes on
where it was.
"""


@dataclass(frozen=True)
class Config:
    out: Path = key("folder of latents, the cache of training")
    tokenizer: Path = key("folder of a tokenizer, or of a model that has one")
    data: DataConfig = field(default_factory=DataConfig)
    videos: str | None = key("folder or glob of video files, or of shards (.tar)", None)
    image_size: tuple[int, int] | None = key(
        "height, width; null: the data's, made to fit, and [64,80] of videos", None, least=1
    )
    image_fit: Literal["crop", "pad"] = key(
        "what becomes of images of other proportions, in data", "crop"
    )
    patch: int = key("model.patch of the training, for what fits", 2, least=1, most=64)
    frames: int = key("frames a clip, of videos", 32, least=1)
    rate_hz: float = key("frames a second, of videos", 5.0, above=0)
    max_broken: float = key("greatest share of videos that cannot be read", 0.05, most=1)
    part: int = key("episodes a part; a kill loses one at most", 256, least=1)
    workers: int = key("processes that read and decode; 0: none", 2, most=1024)
    ray: str | None = key("local, or a cluster's address: parts are spread over it", None)
    device: str = key("cpu, cuda, ... (with ray: of each task)", "cpu")


def run(config: Config) -> int:
    from ..data.latents.for_training import encode_for_training
    from ..data.latents.on_ray import spread_over
    from ..tokenizers import stored

    here = config.device if config.ray is None else "cpu"
    cut = {key: getattr(config, key) for key in ("frames", "rate_hz", "max_broken")}
    encode_for_training(
        config.out,
        stored.load(config.tokenizer, here).requires_grad_(False),
        config.data.open_all(),
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
