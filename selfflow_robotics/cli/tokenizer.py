"""`selfflow tokenizer`: makes what turns frames into latents."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .dataset import DataConfig, one_data_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from selfflow_robotics.data.episode import EpisodeSource
    from selfflow_robotics.tokenizers.tokenizer import Tokenizer

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
    """Trains, measures on held-out episodes and writes.

    Raises:
        ValueError: No source of frames is given, or one is faulty.
        FileNotFoundError: A source is not there.
    """
    import numpy as np

    from selfflow_robotics.machine.precision import usable
    from selfflow_robotics.storage.model_folder import require_model_folder
    from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
    from selfflow_robotics.tokenizers.train import Loss, train_autoencoder

    require_model_folder(config.out)
    usable(config.device)
    sources = _sources(config)
    if config.kind in ("sd-vae", "wan"):
        _take_over(sources, config)
        return 0
    if not sources:
        raise ValueError(
            "there are no frames to train on: add data=FOLDER, videos=FOLDER or "
            "physics_episodes=1000"
        )
    if config.kind == "patches":
        _save_patches(sources, config)
        return 0
    # Faults that need no data are told before minutes go into reading it.
    start = Autoencoder.from_pretrained(config.start) if config.start else None
    sizes = AutoencoderConfig(config.channels, config.widths)
    (start or Autoencoder(sizes)).latent_size(config.image_size)
    gathered = [_frames(source, config) for source in sources]
    train = np.concatenate([part for part, _ in gathered])
    autoencoder = train_autoencoder(
        train,
        steps=config.steps,
        batch_size=config.batch_size,
        lr=config.lr,
        seed=config.seed,
        device=config.device,
        config=sizes,
        loss=Loss(config.moving, config.detail, config.gradient, config.noise),
        start=start,
    )
    _keep(autoencoder, config.out)
    _report(autoencoder, sources, gathered)
    print(f"wrote {config.out}")
    return 0


def _keep(trained: Tokenizer, out: Path) -> None:
    """Write what took long to make, if need be elsewhere.

    Raises:
        OSError: it could not be written where it was to be; the message says where it is.
    """
    import tempfile

    from selfflow_robotics.tokenizers.stored import save

    try:
        save(trained, out)
    except OSError as error:
        elsewhere = tempfile.mkdtemp(prefix="selfflow-tokenizer-")
        try:
            save(trained, elsewhere)
        except OSError:
            os.rmdir(elsewhere)
            raise error from None
        raise OSError(
            f"{error}. What was trained is kept in {elsewhere}: move it to {out}"
        ) from error


def _report(
    tokenizer: Tokenizer,
    sources: list[EpisodeSource],
    gathered: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> None:
    from selfflow_robotics.tokenizers.train import measure

    for source, (part, held_out) in zip(sources, gathered, strict=True):
        frames, which = (held_out, "held-out") if len(held_out) else (part[:1000], "training")
        print(f"{source.name}, {which}: {measure(tokenizer, frames)}")


def _take_over(sources: list[EpisodeSource], config: Config) -> None:
    """An autoencoder of diffusers, in this project's form."""
    from selfflow_robotics.tokenizers.stable_diffusion import StableDiffusion
    from selfflow_robotics.tokenizers.stored import save
    from selfflow_robotics.tokenizers.wan import Wan

    if config.start is None:
        raise ValueError(
            f"kind={config.kind} takes weights that are there: add start=FOLDER, or start=ORG/NAME "
            "of the Hub"
        )
    kind = StableDiffusion if config.kind == "sd-vae" else Wan
    tokenizer = kind.from_pretrained(config.start).to(config.device)
    _report(tokenizer, sources, [_frames(source, config) for source in sources])
    save(tokenizer, config.out)
    print(f"wrote {config.out}")


def _save_patches(sources: list[EpisodeSource], config: Config) -> None:
    """Patches scaled by the mean and deviation of the frames."""
    import numpy as np

    from selfflow_robotics.tokenizers.patches import Patches
    from selfflow_robotics.tokenizers.stored import save

    Patches(config.factor).latent_size(config.image_size)
    pixels = np.concatenate([_frames(source, config)[0] for source in sources]) / 127.5 - 1.0
    save(Patches(config.factor, float(pixels.mean()), float(pixels.std())), config.out)
    print(f"wrote {config.out}")


def _sources(config: Config) -> list[EpisodeSource]:
    sources: list[EpisodeSource] = []
    if config.data.path:
        from selfflow_robotics.data.formats import open_dataset

        path = one_data_set(config.data.path)
        sources.append(open_dataset(path, config.data.mapping, config.data.split))
    if config.videos is not None:
        from selfflow_robotics.data.video.shards import open_videos

        videos = open_videos(config.videos, config.image_size, max_broken=config.max_broken)
        for video in videos.broken:
            print(video)
        sources.append(videos)
    if config.physics_episodes:
        from selfflow_robotics.envs.physics_video import PhysicsVideo

        sources.append(
            PhysicsVideo(config.physics_episodes, 24, config.image_size, seed=config.seed)
        )
    return sources


def _frames(source: EpisodeSource, config: Config) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Frames to train on, and at most 2000 held-out ones; both (S, h, w, 3)."""
    import numpy as np
    from tqdm import tqdm

    from selfflow_robotics.data.split import split_of
    from selfflow_robotics.data.video.source import UnreadableVideoError
    from selfflow_robotics.images.resize import resize

    rng = np.random.default_rng(config.seed)
    train: list[NDArray[Any]] = []
    held_out: list[NDArray[Any]] = []
    # An even share of each episode, so that memory is bounded before lengths are known.
    share = max(1, config.max_frames // len(source))
    order = rng.permutation(len(source))[: config.max_frames]
    for index in tqdm(order, desc=f"frames of {source.name}", unit="episode"):
        try:
            episode = source[int(index)]
        except UnreadableVideoError as error:
            tqdm.write(str(error))
            continue
        side, most = (
            (train, share) if split_of(episode.id) == "train" else (held_out, max(share, 20))
        )
        if side is held_out and sum(map(len, held_out)) >= 2000:
            continue
        chosen = np.sort(rng.permutation(len(episode.images))[:most])
        side.append(resize(episode.images[chosen], config.image_size))
    none = np.zeros((0, *config.image_size, 3), np.uint8)
    return np.concatenate([none, *train]), np.concatenate([none, *held_out])
