"""Places in a row, at whose end a task is done; walks go there, and back and forth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from tiny_world import CHANNELS, VOCABULARY, P, latent_episodes
from torch import Tensor

from selfflow_robotics.data.clips import NEVER, LatentEpisodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.model.critic import Critic, CriticConfig
from selfflow_robotics.model.dit import MAX_WORDS

PLACES = 8
CONFIG = CriticConfig((CHANNELS, 4, 6), P, VOCABULARY.size, MAX_WORDS, most=16, width=12, hidden=32)


def chain(episodes: int = 50, seed: int = 0) -> tuple[LatentEpisodes, NDArray[np.int64]]:
    """Episodes by somebody who strays, and the place (S,) of each frame; place 0 ends them."""
    random, walks = np.random.default_rng(seed), []
    for _ in range(episodes):
        walk = [int(random.integers(2, PLACES))]
        while walk[-1] > 0 and len(walk) < 12:
            step = -1 if random.random() < 0.75 else 1
            walk.append(min(walk[-1] + step, PLACES - 1))
        walks.append(walk)
    made = latent_episodes([len(walk) for walk in walks], seed)
    assert made.states is not None
    left = [np.arange(len(w))[::-1] if w[-1] == 0 else np.full(len(w), NEVER) for w in walks]
    places = np.concatenate(walks)
    told = replace(
        made,
        latents=JoinedRows([latents_of(places).numpy().astype(np.float16)]),
        states=np.zeros_like(made.states),
        steps_to_success=np.concatenate(left).astype(np.float32),
        demonstrated=np.zeros(len(places), np.bool_),
    )
    return told, places


def latents_of(places: NDArray[np.int64]) -> Tensor:
    """(S, C, h, w): a place lights up its channel."""
    found = torch.zeros(len(places), CHANNELS, 4, 6)
    found[torch.arange(len(places)), torch.from_numpy(places)] = 1
    return found


def critic() -> Critic:
    torch.manual_seed(0)
    return Critic(CONFIG)


@torch.no_grad()
def counted(critic: Critic, goal: int | None = None, sign: int = 1) -> Tensor:
    """Steps (PLACES, heads) that the critic says from each place, to the task or to a place."""
    rows, nowhere = sign * latents_of(np.arange(PLACES)), torch.zeros(PLACES, P)
    if goal is None:
        words = torch.from_numpy(VOCABULARY.encode(["pick can"])).expand(PLACES, -1)
        return critic.steps(critic(rows, nowhere, words))
    there = latents_of(np.array([goal])).expand(PLACES, -1, -1, -1)
    return critic.steps(critic(rows, nowhere, None, there, nowhere))
