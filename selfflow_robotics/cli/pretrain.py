"""`selfflow pretrain`: teaches the network general video, without actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..training.config import ModelConfig, ObjectiveConfig, TrainerConfig

if TYPE_CHECKING:
    from ..training.ranks import Ranks

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
    from ..training.ranks import join_ranks

    with join_ranks(config.device) as ranks:
        return _run(config, ranks)


def _run(config: Config, ranks: Ranks) -> int:
    import torch

    from ..data.clips import LatentEpisodes
    from ..data.latents.cache import Encodable, latents_of, weights_digest
    from ..data.video.shards import open_videos
    from ..data.video.source import VideoClips
    from ..data.vocabulary import Vocabulary
    from ..envs.physics_video import PhysicsVideo
    from ..storage.model_folder import require_model_folder
    from ..training.memory_check import require_memory
    from ..training.recipe import (
        build_objective,
        build_world_model,
        load_tokenizer,
        start_from,
    )
    from ..training.run_config import RunSettings
    from ..training.shared_latents import forget_shared_latents, shared_cache
    from ..training.text_vectors import TextEncoder, tell_vectors
    from ..training.trainer import Trainer

    require_model_folder(config.out)
    tokenizer = load_tokenizer(None, config.tokenizer).to(ranks.device)
    sources: list[Encodable] = []
    if config.videos is not None:
        sources.append(
            open_videos(
                config.videos, config.image_size, config.frames, config.rate_hz, config.max_broken
            )
        )
    if config.physics_episodes:
        sources.append(
            PhysicsVideo(config.physics_episodes, 24, config.image_size, seed=config.trainer.seed)
        )
    if not sources:
        raise ValueError("there is no video: add videos=FOLDER or physics_episodes=1000")
    with ranks.first_alone():
        objective = build_objective(config.objective, config.model.patch, 0, tokenizer)
        encoder = None if config.text_encoder is None else TextEncoder(config.text_encoder)
        found = {
            "data.identity": [{"videos": len(one), **one.identity} for one in sources],
            "tokenizer.weights": weights_digest(tokenizer),
        }
    settings = RunSettings.of(config.out / "training", config, found)
    settings.require_same()
    sizes, width = (config.model, config.objective, config.trainer), encoder.width if encoder else 0
    require_memory(*sizes, tokenizer, config.image_size, ranks, text_width=width)
    torch.manual_seed(config.trainer.seed)
    # Actions and proprioception are a robot's, and come with its episodes.
    world_model = build_world_model(
        config.model,
        tokenizer,
        config.image_size,
        None,
        None,
        Vocabulary(()),
        config.objective.shift,
        step_sizes=config.objective.shortcut > 0,
        text_encoder=config.text_encoder,
        text_dim=width,
    ).to(ranks.device)
    if config.start is not None:
        print(f"took over {start_from(world_model, config.start):,} weights of {config.start}")
    with ranks.first_alone():
        cache = shared_cache(config.cache, config.out, ranks)
        latents = LatentEpisodes.join([latents_of(one, tokenizer, cache) for one in sources])
        for one in sources if ranks.first else ():
            for video in one.broken if isinstance(one, VideoClips) else ():
                print(video)
        if encoder is not None:
            kept = config.out / "training" / "captions.npz"
            latents = tell_vectors(latents, encoder, kept, ranks.device)
            told = (latents.texts != "")[latents.told].mean()
            print(f"{told:.1%} of the frames have a caption")
    trainer = Trainer(
        world_model,
        objective,
        latents,
        config.trainer,
        config.out / "training",
        ranks=ranks,
    )
    if ranks.first:
        settings.write()
    trained = trainer.fit()
    if trained is None or not ranks.first:
        return 0
    trained.save_pretrained(str(config.out))
    forget_shared_latents(config.out)
    print(f"wrote {config.out}")
    return 0
