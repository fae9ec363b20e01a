"""Fits a policy prior to what was demonstrated."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..data.clips import NEVER, LatentEpisodes
from ..model.prior import PolicyPrior, PriorConfig
from ..storage.digests import text_digest
from ..world_model.world_model import WorldModel
from .config import PriorTraining
from .fitted_part import digest_of, keep_fitted, take_fitted


def demonstrations(episodes: LatentEpisodes, horizon: int) -> tuple[NDArray[np.int64], Tensor]:
    """Frames after which an action was demonstrated (n,), and for how many steps on (n, horizon).

    What follows the first action that was not demonstrated, or another episode's, does not count.
    """
    shown = episodes.demonstrated & (episodes.steps_to_success < NEVER)
    shown[episodes.offsets[:-1]] = False  # no action of its own episode led to a first frame
    padded = np.concatenate([shown, np.zeros(horizon, np.bool_)])
    ahead = np.stack([padded[i + 1 : i + 1 + len(shown)] for i in range(horizon)], axis=1)
    ahead = np.logical_and.accumulate(ahead, axis=1)
    frames = np.flatnonzero(ahead[:, 0])
    return frames, torch.from_numpy(ahead[frames])


def fit_prior(
    prior: PolicyPrior,
    episodes: LatentEpisodes,
    config: PriorTraining,
    held_out: LatentEpisodes | None = None,
) -> float | None:
    """Train in place; returns the mean absolute error on held-out demonstrations.

    Noise on latents and proprioception keeps it from knowing the training frames by heart. The
    error is absolute, not squared: a gripper command is then one of those shown, not their mean.

    Raises:
        ValueError: nothing was demonstrated, or the episodes have no actions or instructions.
    """
    device = next(prior.parameters()).device
    if episodes.actions is None or episodes.words is None:
        raise ValueError("a policy prior needs episodes with actions and instructions")
    frames, ahead = demonstrations(episodes, prior.config.horizon)
    if not len(frames):
        raise ValueError(
            "no episode shows how its task is done, so there is nothing to fit a policy prior to; "
            "record successful episodes, or leave it out: prior.steps=0"
        )
    optimizer = torch.optim.AdamW(
        prior.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    generator = torch.Generator().manual_seed(config.seed)
    prior.requires_grad_(True).train()
    for step in tqdm(range(config.steps), desc="policy prior", unit="step"):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        chosen = torch.randint(len(frames), (config.batch_size,), generator=generator)
        latents, state, words, target = _rows(episodes, frames[chosen.numpy()], prior)
        latents = latents + config.noise * torch.randn(latents.shape, generator=generator)
        if state is not None:
            state = state + config.state_noise * torch.randn(state.shape, generator=generator)
            state = state.to(device)
        guess = prior(latents.to(device), state, words.to(device))
        loss = _error(guess, target.to(device), ahead[chosen].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    prior.eval()
    return None if held_out is None else prior_error(prior, held_out)


def add_prior(
    world_model: WorldModel,
    path: Path,
    episodes: LatentEpisodes,
    config: PriorTraining,
    held_out: LatentEpisodes | None = None,
) -> float | None:
    """Give a world model a policy prior: the one of before from `path`, or fit it, and keep it.

    What lies there counts where it was fitted with the same settings to the same episodes; a line
    says where it does not. What the prior is does not depend on the network.

    Returns:
        Its error, see :func:`prior_error`.

    Raises:
        ValueError: what :func:`fit_prior` refuses.
    """
    sizes = prior_sizes(world_model)
    torch.manual_seed(config.seed)
    prior = PolicyPrior(sizes).to(world_model.device)
    made_with = _made_with(world_model, sizes, config, episodes)
    if take_fitted("policy prior", prior, path, made_with):
        error = None if held_out is None else prior_error(prior, held_out)
    else:
        error = fit_prior(prior, episodes, config, held_out)
        keep_fitted(prior, path, made_with)
    world_model.prior = prior.eval()
    world_model.config = replace(world_model.config, prior=sizes)
    return error


def prior_sizes(world_model: WorldModel) -> PriorConfig:
    """The prior that goes with a world model."""
    config = world_model.config
    channels = world_model.tokenizer.channels
    rows, columns = world_model.tokenizer.latent_size(config.image_size)
    states = config.state_spec.size if config.state_spec else 0
    words = config.vocabulary
    actions = world_model.action_spec.size
    return PriorConfig((channels, rows, columns), states, actions, words.size, words.length)


def _made_with(
    world_model: WorldModel, sizes: PriorConfig, config: PriorTraining, episodes: LatentEpisodes
) -> dict[str, str]:
    """What a fitted prior depends on, by what to call it."""
    frames, _ = demonstrations(episodes, sizes.horizon)
    assert episodes.actions is not None
    spread = np.linspace(0, len(episodes.latents) - 1, 64).astype(np.int64)
    sample = (
        episodes.latents_at(spread).numpy(),
        episodes.actions,
        episodes.states,
        episodes.told,
        frames,
        sizes,
        episodes.ids.tolist(),
    )
    settings = {f"prior.{key}": str(value) for key, value in vars(config).items()}
    words = " ".join(world_model.config.vocabulary.words)
    return {**settings, "instructions": text_digest(words), "episodes": digest_of(sample)}


@torch.no_grad()
def prior_error(prior: PolicyPrior, episodes: LatentEpisodes, most: int = 4000) -> float | None:
    """Mean absolute error of normalised actions on demonstrations; None where there are none."""
    frames, ahead = demonstrations(episodes, prior.config.horizon)
    if not len(frames):
        return None
    few = np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(np.int64)
    device = next(prior.parameters()).device
    latents, state, words, target = _rows(episodes, frames[few], prior)
    guess = prior(latents.to(device), None if state is None else state.to(device), words.to(device))
    return float(_error(guess.cpu(), target, ahead[torch.from_numpy(few)]))


def _rows(
    episodes: LatentEpisodes, frames: NDArray[np.int64], prior: PolicyPrior
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Latents, proprioception and words of frames, and the actions that follow them."""
    words = episodes.words_at(frames)
    assert episodes.actions is not None and words is not None
    following = frames[:, None] + 1 + np.arange(prior.config.horizon)
    following = following.clip(max=len(episodes.latents) - 1)
    return (
        episodes.latents_at(frames),
        None if episodes.states is None else torch.from_numpy(episodes.states[frames]),
        words,
        torch.from_numpy(episodes.actions[following]),
    )


def _error(guess_BHA: Tensor, target_BHA: Tensor, counts_BH: Tensor) -> Tensor:
    error = F.smooth_l1_loss(guess_BHA, target_BHA, beta=0.05, reduction="none").mean(dim=2)
    return (error * counts_BH).sum() / counts_BH.sum()
