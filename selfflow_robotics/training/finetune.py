"""Trains an action-conditioned world model on a robot's episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..data.clips import LatentEpisodes
from ..data.episode import Dataset
from ..data.fitted import common_fit
from ..data.latents.cache import weights_digest
from ..data.vocabulary import Vocabulary
from ..images.fit import How, ImageFit
from ..storage.model_folder import require_model_folder
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.world_model import WorldModel
from .config import (
    CriticTraining,
    ModelConfig,
    ObjectiveConfig,
    PriorTraining,
    TrainerConfig,
)
from .diagnostics import held_out_errors
from .fitted_critic import add_critic
from .kinematics import fit_kinematics
from .memory_check import require_memory
from .prior import add_prior, demonstrations, prior_sizes
from .ranks import Ranks
from .recipe import build_objective, build_world_model, load_tokenizer, start_from
from .refit import encoded_sides, refit
from .run_config import RunSettings
from .shared_latents import forget_shared_latents, shared_cache
from .trainer import train_into


def finetune(
    out: Path,
    sources: Sequence[Dataset],
    *,
    tokenizer: Tokenizer | None = None,
    start: Path | None = None,
    cache: Path | None = None,
    image_size: tuple[int, int] | None = None,
    image_fit: How = "crop",
    repeat: Mapping[str, int] | None = None,
    model: ModelConfig = ModelConfig(),
    objective: ObjectiveConfig = ObjectiveConfig(),
    trainer: TrainerConfig = TrainerConfig(),
    prior: PriorTraining = PriorTraining(),
    critic: CriticTraining = CriticTraining(),
    ranks: Ranks = Ranks(),
    opened_by: Mapping[str, Any] | None = None,
) -> WorldModel | None:
    """Train on the episodes of all sources and write the world model. The same call resumes.

    Args:
        out: folder to write; what resumes lies in `out`/training.
        sources: data sets whose actions mean the same; the first one's statistics normalise.
        tokenizer: None: that of `start`.
        start: folder of the model to start from, or the image checkpoint.
        cache: folder that keeps latents.
        image_size: (height, width) to train at; None: the data's, made to fit.
        image_fit: what becomes of images of other proportions.
        repeat: how often clips come whose instruction begins with a word.
        prior: how the policy prior is fitted, after the network.
        critic: how the critic is fitted, after the prior. Where the trainer takes no step it alone
            is fitted, to `start` as it is.
        ranks: this process among others, and its device; see :func:`join_ranks`.
        opened_by: how sources and tokenizer were opened, kept beside the checkpoints.

    Returns:
        The world model; None if training was asked to stop, and on ranks other than the first.

    Raises:
        ValueError: the data cannot be trained on, together or at this size, a critic alone is
            wanted of another tokenizer or size than the model's, the device has too little memory,
            or `out` holds the checkpoints of another run.
        FileExistsError: `out` holds other things than a model.
    """
    require_model_folder(out)
    _require_same_meaning(sources)
    if critic.steps and not trainer.steps and start is not None:
        found_by = WorldModel.from_pretrained(str(start), ranks.device), str(start)
        _require_as_it_is(*found_by, tokenizer, image_size)
        fitted = refit(
            *found_by, sources, out / "training", cache=cache, critic=critic, ranks=ranks
        )
        if fitted is not None:
            fitted.save_pretrained(str(out))
            print(f"wrote {out}")
        return fitted
    source, tokenizer = sources[0], tokenizer or load_tokenizer(start, None)
    tokenizer = tokenizer.to(ranks.device)
    fit = common_fit(sources, image_size, image_fit, tokenizer.factor * model.patch)
    with ranks.first_alone():
        learns = build_objective(
            objective,
            model.patch,
            1,
            tokenizer,
            given_state=model.kinematics,
            alone=model.markov,
        )
        found: dict[str, Any] = {
            "data.identity": [dict(one.identity) for one in sources],
            "tokenizer.weights": weights_digest(tokenizer),
            "model.image_size": list(fit.size),
        }
    asked = {"out": out, "data.split": source.split, **(opened_by or {}), "start": start}
    asked |= {"data.repeat": dict(repeat or {}), "cache": cache}
    asked |= {"image_size": image_size, "image_fit": image_fit}
    asked |= {"device": ranks.device, "model": model, "objective": objective}
    asked |= {"trainer": trainer, "prior": prior, "critic": critic}
    settings = RunSettings.of(out / "training", asked, found)
    settings.require_same()
    require_memory(model, objective, trainer, tokenizer, fit.size, ranks, words=100)
    with ranks.first_alone():
        latents = shared_cache(cache, out, ranks)
        train, held_out, vocabulary = _encoded(sources, tokenizer, fit, latents)
    torch.manual_seed(trainer.seed)
    assert source.action_spec is not None
    world_model = build_world_model(
        model,
        tokenizer,
        fit.size,
        source.action_spec.block(tokenizer.temporal),
        source.state_spec,
        vocabulary,
        objective.shift,
        step_sizes=objective.shortcut > 0,
        image_fit=fit.how,
        camera_size=source.image_size,
    ).to(ranks.device)
    with_prior = _has_prior(prior, world_model, train)
    if start is not None:
        print(f"took over {start_from(world_model, start):,} weights of {start}")
    if world_model.network.kinematics is not None:
        fit_kinematics(world_model.network.kinematics, train)
    judge = held_out_errors(model.history_len, held_out)
    trained = train_into(
        out, settings, world_model, learns, train, trainer, judge, repeat, ranks=ranks
    )
    if trained is None:
        return None
    if with_prior:
        print(f"wrote the network to {out}; its policy prior comes next", flush=True)
        error = add_prior(trained, settings.folder / "prior.pt", train, prior, held_out)
        if error is not None:
            print(f"policy prior: mean error {error:.4f} of held-out demonstrations, normalised")
        trained.save_pretrained(str(out))
    if critic.steps:
        add_critic(trained, settings.folder / "critic.pt", train, critic, held_out)
        trained.save_pretrained(str(out))
    forget_shared_latents(out)
    print(f"wrote {out}")
    return trained


def _require_same_meaning(sources: Sequence[Dataset]) -> None:
    """Refuse data sets whose actions or proprioception do not mean the same."""
    if not sources:
        raise ValueError('there are no episodes: add data=FOLDER ("selfflow collect" makes one)')
    first = sources[0]
    for other in sources:
        if first.action_spec is None or other.action_spec is None:
            raise ValueError(f"{other.name} has no actions, which a world model needs")
        first.action_spec.require_match(other.action_spec, first.name, other.name)
        if first.state_spec is not None and other.state_spec is not None:
            first.state_spec.require_match(other.state_spec, first.name, other.name)
        beyond = first.action_spec.left_by(other.action_spec)
        if beyond:
            print(
                f"actions: {', '.join(beyond)} of {other.name} beyond q01 to q99 of {first.name} "
                "become these, which count for all; name the widest data set first"
            )


def _encoded(
    sources: Sequence[Dataset], tokenizer: Tokenizer, fit: ImageFit, cache: Path | None
) -> tuple[LatentEpisodes, LatentEpisodes | None, Vocabulary]:
    """Latents to train on, held-out ones where there are any, and the words of both."""
    specs = sources[0].action_spec, sources[0].state_spec
    parts = encoded_sides(sources, tokenizer, fit, cache, specs)
    vocabulary = Vocabulary.of(str(text) for part in parts for text in part.texts)
    train, *held_out = (part.with_words(vocabulary) for part in parts)
    return train, held_out[0] if held_out else None, vocabulary


def _require_as_it_is(
    world_model: WorldModel,
    name: str,
    tokenizer: Tokenizer | None,
    image_size: tuple[int, int] | None,
) -> None:
    """Refuse a critic of other latents than the model's own, where it alone is fitted."""
    size = world_model.image_size
    other = "" if image_size in (None, size) else f"image_size={list(image_size or ())}"
    own = weights_digest(world_model.tokenizer)
    if tokenizer is not None and weights_digest(tokenizer) != own:
        other = "another tokenizer"
    if other:
        raise ValueError(
            f"trainer.steps=0 fits a critic to {name} as it is, with its tokenizer and images of "
            f"{list(size)}, but this run gives {other}; leave it out, or train with trainer.steps"
        )


def _has_prior(prior: PriorTraining, world_model: WorldModel, train: LatentEpisodes) -> bool:
    """Whether a policy prior is to be fitted; said where nothing shows it what to do."""
    if not prior.steps or train.words is None:
        return False
    frames, _ = demonstrations(train, prior_sizes(world_model).horizon)
    if not len(frames):
        print(
            "no episode succeeds, so there is nothing to imitate: the model is trained without a "
            "policy prior, and planners start from what it proposes itself"
        )
    return len(frames) > 0
