"""Trains a world model on as what it is: its words, its sizes and what its numbers mean stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.action_spec import ActionSpec, StateSpec
from ..data.clips import LatentEpisodes
from ..data.episode import Dataset
from ..data.fitted import fitted
from ..data.latents.cache import latents_of
from ..data.split import SIDES, sides
from ..images.fit import ImageFit
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.world_model import WorldModel
from .config import CriticTraining, ObjectiveConfig, PriorTraining, TrainerConfig
from .diagnostics import held_out_errors
from .fitted_critic import add_critic
from .kinematics import fit_kinematics
from .prior import add_prior
from .ranks import Ranks
from .recipe import build_objective
from .trainer import Trainer, require_divisible


def refit(
    world_model: WorldModel,
    name: str,
    sources: Sequence[Dataset],
    folder: Path,
    *,
    cache: Path | None = None,
    objective: ObjectiveConfig = ObjectiveConfig(),
    trainer: TrainerConfig = TrainerConfig(steps=0),
    prior: PriorTraining = PriorTraining(steps=0),
    critic: CriticTraining = CriticTraining(),
    ranks: Ranks = Ranks(),
) -> WorldModel | None:
    """Train on the episodes of all sources; each part that is given no steps stays as it is.

    A critic begins with the one that the model has. The same call resumes.

    Args:
        name: of the world model, in messages.
        folder: what resumes lies there.
        cache: folder that keeps latents.

    Returns:
        The world model, the given one or another; None if training was asked to stop, and on ranks
        other than the first.

    Raises:
        ValueError: see :func:`require_refittable`, or what the fits refuse.
    """
    require_refittable(world_model, name, sources, objective, trainer)
    if not (ranks.first or trainer.steps):
        return None
    specs = world_model.action_spec, world_model.state_spec
    parts = encoded_sides(sources, world_model.tokenizer, world_model.image_fit, cache, specs)
    train, *rest = (part.with_words(world_model.config.vocabulary) for part in parts)
    held_out = rest[0] if rest else None
    if trainer.steps:
        trained = _trained(world_model, train, held_out, folder, objective, trainer, ranks)
        if trained is None:
            return None
        world_model = trained
    if prior.steps:
        add_prior(world_model, folder / "prior.pt", train, prior, held_out)
    if critic.steps:
        add_critic(world_model, folder / "critic.pt", train, critic, held_out)
    return world_model


def require_refittable(
    world_model: WorldModel,
    name: str,
    sources: Sequence[Dataset],
    objective: ObjectiveConfig = ObjectiveConfig(),
    trainer: TrainerConfig = TrainerConfig(steps=0),
) -> None:
    """Refuse, before the work, what a world model cannot be trained on with.

    Raises:
        ValueError: data whose actions or proprioception mean something else, an objective other
            than what the model's imagination was made for, or a batch that does not divide.
    """
    for source in sources:
        if source.action_spec is None:
            raise ValueError(f"{source.name} has no actions, which a world model needs")
        world_model.action_spec.require_match(source.action_spec, name, source.name)
        if world_model.state_spec is not None and source.state_spec is not None:
            world_model.state_spec.require_match(source.state_spec, name, source.name)
    if not trainer.steps:
        return
    require_divisible(trainer.batch_size, 1, trainer.accumulate)
    if objective.kind().unrolls and trainer.frames <= objective.ahead:
        raise ValueError(
            f"clips of trainer.frames={trainer.frames} have no objective.ahead={objective.ahead} "
            "frames after a first one; raise trainer.frames or lower objective.ahead"
        )
    build_objective(objective, world_model.config.patch, 1, world_model.tokenizer)
    config = world_model.config
    large = config.network.step_sizes
    if objective.shift != config.time_shift or (objective.shortcut > 0) != large:
        raise ValueError(
            f"{name} was trained with objective.shift={config.time_shift:g} and "
            f"{'large steps' if large else 'objective.shortcut=0'}, but this run asks for "
            f"objective.shift={objective.shift:g} and objective.shortcut={objective.shortcut:g}; "
            "give the objective it was trained with, or trainer.steps=0"
        )


def encoded_sides(
    sources: Sequence[Dataset],
    tokenizer: Tokenizer,
    fit: ImageFit,
    cache: Path | None,
    specs: tuple[ActionSpec | None, StateSpec | None],
) -> list[LatentEpisodes]:
    """Latents to train on and, where there are any, held-out ones."""
    return [
        LatentEpisodes.join(
            [latents_of(fitted(one, fit), tokenizer, cache, *specs) for one in one_side]
        )
        for one_side in (sides(sources, which) for which in SIDES)
        if one_side
    ]


def _trained(
    world_model: WorldModel,
    train: LatentEpisodes,
    held_out: LatentEpisodes | None,
    folder: Path,
    objective: ObjectiveConfig,
    trainer: TrainerConfig,
    ranks: Ranks,
) -> WorldModel | None:
    """The model after more steps; its prior and critic wait beside, no gradient reaches them."""
    fitted_parts = world_model.prior, world_model.critic
    world_model.prior = world_model.critic = None
    world_model.train().requires_grad_(True)
    world_model.tokenizer.requires_grad_(False).eval()
    kinematics = world_model.network.kinematics
    if kinematics is not None:
        fit_kinematics(kinematics, train)
    learns = build_objective(
        objective,
        world_model.config.patch,
        1,
        world_model.tokenizer,
        given_state=kinematics is not None,
        alone=world_model.config.network.markov,
    )
    judge = held_out_errors(world_model.config.history_len, held_out)
    fitted_by = Trainer(world_model, learns, train, trainer, folder, judge, ranks=ranks)
    trained = fitted_by.fit()
    if trained is None or not ranks.first:
        return None
    trained.prior, trained.critic = fitted_parts
    return trained
