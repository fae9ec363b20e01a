"""`selfflow data encode`: encodes a data set once, for training to read latents and no pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .dataset import DataConfig

if TYPE_CHECKING:
    from ..data.action_spec import ActionSpec, StateSpec
    from ..data.latents.cache import Encodable

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
    """Encode what is given and does not lie there yet.

    Raises:
        ValueError: nothing is given, what lies there was encoded otherwise, or data are faulty.
    """
    from ..data.latents.cache import latents_of
    from ..data.latents.on_ray import spread_over
    from ..data.video.source import VideoClips
    from ..tokenizers import stored

    here = config.device if config.ray is None else "cpu"
    tokenizer = stored.load(config.tokenizer, here).requires_grad_(False)
    spread = None if config.ray is None else spread_over(config.ray, config.device)
    for episodes, actions, states in _sources(config, tokenizer.factor * config.patch):
        found = latents_of(
            episodes,
            tokenizer,
            config.out,
            actions,
            states,
            part_episodes=config.part,
            workers=config.workers,
            spread=spread,
        )
        print(
            f"{episodes.name}: {len(found.ids)} episodes, {len(found.latents)} latent frames of "
            f"{found.latents.shape[1:]}"
        )
        for video in episodes.broken if isinstance(episodes, VideoClips) else ():
            print(video)
    print(f"wrote {config.out}")
    return 0


def _sources(
    config: Config, unit: int
) -> list[tuple[Encodable, ActionSpec | None, StateSpec | None]]:
    """Both sides of the split of each data set, and the videos.

    Args:
        unit: pixels along a token's side, which what a data set is made by default divides into.
    """
    from ..data.fitted import fitted
    from ..data.formats import open_dataset
    from ..data.video.shards import open_videos
    from ..training.recipe import OneSide, common_fit

    if not config.data.path and config.videos is None:
        raise ValueError("there is nothing to encode: add data=FOLDER or videos=FOLDER")
    sources: list[tuple[Encodable, ActionSpec | None, StateSpec | None]] = []
    data = [open_dataset(path, config.data.mapping, config.data.split) for path in config.data.path]
    fit = common_fit(data, config.image_size, config.image_fit, unit) if data else None
    for source in data:
        for which in ("train", "held-out"):
            side = OneSide(source, which)
            if len(side) and fit is not None:
                # Training on several data sets normalises by the first's statistics.
                sources.append((fitted(side, fit), data[0].action_spec, data[0].state_spec))
    if config.videos is not None:
        videos = open_videos(
            config.videos,
            config.image_size or (64, 80),
            config.frames,
            config.rate_hz,
            config.max_broken,
        )
        sources.append((videos, None, None))
    return sources
