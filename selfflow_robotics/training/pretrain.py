"""Teaches a network general video, without actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.clips import LatentEpisodes
from ..data.episode import Encodable
from ..data.latents.cache import latents_of, weights_digest
from ..data.video.source import VideoClips
from ..data.vocabulary import Vocabulary
from ..storage.model_folder import require_model_folder
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.world_model import WorldModel
from .config import ModelConfig, ObjectiveConfig, TrainerConfig
from .memory_check import require_memory
from .ranks import Ranks
from .recipe import build_objective, build_world_model, start_from
from .run_config import RunSettings
from .shared_latents import forget_shared_latents, shared_cache
from .text_vectors import TextEncoder, tell_vectors
from .trainer import train_into


def pretrain(
    out: Path,
    sources: Sequence[Encodable],
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    *,
    start: Path | None = None,
    cache: Path | None = None,
    text_encoder: str | None = None,
    model: ModelConfig = ModelConfig(),
    objective: ObjectiveConfig = ObjectiveConfig(),
    trainer: TrainerConfig = TrainerConfig(),
    ranks: Ranks = Ranks(),
    opened_by: Mapping[str, Any] | None = None,
) -> WorldModel | None:
    """Train on all frames of the sources and write the model. The same call resumes.

    Args:
        out: folder to write; what resumes lies in `out`/training.
        sources: videos, as :class:`VideoClips` has them, or any other episodes.
        image_size: (height, width) of their frames.
        start: folder of the model to start from, or the image checkpoint.
        cache: folder that keeps latents.
        text_encoder: folder or name on the Hub of what captions are read with.
        ranks: this process among others, and its device; see :func:`join_ranks`.
        opened_by: how sources and tokenizer were opened, kept beside the checkpoints.

    Returns:
        The model; None if training was asked to stop, and on ranks other than the first.

    Raises:
        ValueError: there is no source, the device has too little memory, or `out` holds the
            checkpoints of another run.
        FileExistsError: `out` holds other things than a model.
    """
    require_model_folder(out)
    if not sources:
        raise ValueError("there is no video: add videos=FOLDER or physics_episodes=1000")
    tokenizer = tokenizer.to(ranks.device)
    with ranks.first_alone():
        learns = build_objective(objective, model.patch, 0, tokenizer)
        encoder = None if text_encoder is None else TextEncoder(text_encoder)
        found = {
            "data.identity": [{"videos": len(one), **one.identity} for one in sources],
            "tokenizer.weights": weights_digest(tokenizer),
        }
    asked = {"out": out, **(opened_by or {}), "image_size": image_size, "start": start}
    asked |= {"cache": cache, "text_encoder": text_encoder, "device": ranks.device}
    asked |= {"model": model, "objective": objective, "trainer": trainer}
    settings = RunSettings.of(out / "training", asked, found)
    settings.require_same()
    width = encoder.width if encoder else 0
    require_memory(model, objective, trainer, tokenizer, image_size, ranks, text_width=width)
    torch.manual_seed(trainer.seed)
    # Actions and proprioception are a robot's, and come with its episodes.
    world_model = build_world_model(
        model,
        tokenizer,
        image_size,
        None,
        None,
        Vocabulary(()),
        objective.shift,
        step_sizes=objective.shortcut > 0,
        text_encoder=text_encoder,
        text_dim=width,
    ).to(ranks.device)
    if start is not None:
        print(f"took over {start_from(world_model, start):,} weights of {start}")
    with ranks.first_alone():
        latents = shared_cache(cache, out, ranks)
        episodes = LatentEpisodes.join([latents_of(one, tokenizer, latents) for one in sources])
        for one in sources if ranks.first else ():
            for video in one.broken if isinstance(one, VideoClips) else ():
                print(video)
        if encoder is not None:
            kept = settings.folder / "captions.npz"
            episodes = tell_vectors(episodes, encoder, kept, ranks.device)
            told = (episodes.texts != "")[episodes.told].mean()
            print(f"{told:.1%} of the frames have a caption")
    trained = train_into(out, settings, world_model, learns, episodes, trainer, ranks=ranks)
    if trained is not None:
        forget_shared_latents(out)
        print(f"wrote {out}")
    return trained
