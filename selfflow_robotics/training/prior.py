"""Fits a policy prior to what was demonstrated."""

from __future__ import annotations

import math
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from ..data.clips import NEVER, LatentEpisodes
from ..model.prior import PolicyPrior
from ..whole import write_whole
from .archives import require_intact
from .config import PriorTraining


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
    frames, ahead = _checked(episodes, prior)
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


def fit_prior_once(
    prior: PolicyPrior,
    path: Path,
    episodes: LatentEpisodes,
    config: PriorTraining,
    held_out: LatentEpisodes | None = None,
) -> float | None:
    """Take what was fitted before from `path`, or fit, and write it there.

    Raises:
        ValueError: the file is damaged, or of another prior; see also `fit_prior`.
    """
    if path.exists():
        take_prior(prior, path)
        return None if held_out is None else prior_error(prior, held_out)
    error = fit_prior(prior, episodes, config, held_out)
    write_whole(path, partial(torch.save, prior.state_dict()))
    return error


def take_prior(prior: PolicyPrior, path: Path) -> None:
    """Take weights that `fit_prior_once` wrote.

    Raises:
        ValueError: the file is damaged, or of another prior.
    """
    own = prior.state_dict()
    try:
        require_intact(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or state.keys() != own.keys():
            raise ValueError("it is of another kind of prior")
        for name, value in state.items():
            if value.shape != own[name].shape:
                there, here = tuple(value.shape), tuple(own[name].shape)
                raise ValueError(f"{name} is {there} there and {here} here")
            if not value.isfinite().all():
                raise ValueError(f"{name} holds numbers that are not finite")
    except (AttributeError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} cannot be gone on with ({reason}); remove it and run again, the policy prior "
            "alone is fitted anew"
        ) from None
    prior.load_state_dict(state)


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


def _checked(episodes: LatentEpisodes, prior: PolicyPrior) -> tuple[NDArray[np.int64], Tensor]:
    if episodes.actions is None or episodes.words is None:
        raise ValueError("a policy prior needs episodes with actions and instructions")
    frames, ahead = demonstrations(episodes, prior.config.horizon)
    if not len(frames):
        raise ValueError(
            "no episode shows how its task is done, so there is nothing to fit a policy prior to; "
            "record successful episodes, or leave it out: prior.steps=0"
        )
    return frames, ahead


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
