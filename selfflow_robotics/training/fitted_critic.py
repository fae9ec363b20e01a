"""Gives a world model a critic, and says how well it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data.clips import LatentEpisodes
from ..data.latents.cache import weights_digest
from ..model.critic import Critic, CriticConfig
from ..storage.digests import text_digest
from ..world_model.world_model import WorldModel
from .config import CriticTraining
from .critic import critic_errors, fit_critic, start_from_prior
from .fitted_part import digest_of, keep_fitted, take_fitted
from .imagined_frames import imagined_frames
from .prior import prior_sizes
from .step_targets import known_steps


def add_critic(
    world_model: WorldModel,
    path: Path,
    episodes: LatentEpisodes,
    config: CriticTraining,
    held_out: LatentEpisodes | None = None,
) -> None:
    """Give a world model a critic: the one of before from `path`, or fit it, and keep it.

    It begins with the critic that the model has, else with what its policy prior sees. What lies
    there counts where it was fitted with the same settings to the same episodes; a line says where
    it does not. Its errors on held-out episodes are printed.

    Raises:
        ValueError: what :func:`fit_critic` refuses.
    """
    sizes = critic_sizes(world_model)
    torch.manual_seed(config.seed)
    critic = Critic(sizes).to(world_model.device)
    made_with = _made_with(world_model, sizes, config, episodes)
    if not take_fitted("critic", critic, path, made_with):
        if world_model.critic is not None and world_model.config.critic == sizes:
            critic.load_state_dict(world_model.critic.state_dict())
        elif world_model.prior is not None:
            start_from_prior(critic, world_model.prior)
        dreamt = imagined_frames(world_model, episodes) if config.imagined else None
        fit_critic(critic, episodes, config, dreamt)
        keep_fitted(critic, path, made_with)
    world_model.critic = critic.eval()
    world_model.config = replace(world_model.config, critic=sizes)
    for word, found in ({} if held_out is None else critic_errors(critic, held_out)).items():
        print(
            f'critic, "{word} ...": median error {found.median:.2f} steps, rank correlation '
            f"{found.rank:.2f} (of doubt with error {found.doubt:.2f}) on {found.frames} held-out "
            "frames"
        )


def critic_sizes(world_model: WorldModel) -> CriticConfig:
    """The critic that goes with a world model, as wide as its policy prior."""
    read = world_model.config.prior or prior_sizes(world_model)
    sizes = read.latent, read.state_dim, read.vocabulary, read.max_words
    return CriticConfig(*sizes, width=read.width)


def _made_with(
    world_model: WorldModel, sizes: CriticConfig, config: CriticTraining, episodes: LatentEpisodes
) -> dict[str, str]:
    """What a fitted critic depends on, by what to call it."""
    spread = np.linspace(0, len(episodes.latents) - 1, 64).astype(np.int64)
    sample = (
        episodes.latents_at(spread).numpy(),
        episodes.states,
        episodes.told,
        episodes.steps_to_success,
        known_steps(episodes),
        sizes,
        episodes.ids.tolist(),
    )
    from_weights = {
        "policy prior": world_model.prior,
        "critic": world_model.critic,
        "network": world_model.network if config.imagined else None,
    }
    return {
        **{f"critic.{key}": str(value) for key, value in vars(config).items()},
        "instructions": text_digest(" ".join(world_model.config.vocabulary.words)),
        "tokenizer": weights_digest(world_model.tokenizer),
        **{name: _digest(part) for name, part in from_weights.items()},
        "episodes": digest_of(sample),
    }


def _digest(part: nn.Module | None) -> str:
    held = {} if part is None else part.state_dict()
    return digest_of([value.float().cpu().numpy() for value in held.values()])
