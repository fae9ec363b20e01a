"""A policy prior: the next actions guessed from one frame, in one cheap pass.

Planning starts from its guess, as TD-MPC2's does (arXiv 2310.16828), and the world model judges
what lies around it. It reads latents, not the transformer's features, so that it can learn from
thousands of frames a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .conditioning import InstructionEncoder


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a policy prior: latents, proprioception, words and actions it knows; its own."""

    latent: tuple[int, int, int]  # channels, height, width
    state_dim: int
    action_dim: int
    vocabulary: int
    max_words: int
    horizon: int = 3
    width: int = 48
    hidden: int = 128


class PolicyPrior(nn.Module):
    """Latents (B, C, h, w), proprioception (B, P) and words (B, L) -> actions (B, H, A).

    Actions and proprioception are normalised; None stands for unknown proprioception.

    The instruction scales and shifts the channels of the first convolution (FiLM, arXiv
    1709.07871), so that it decides what is looked for. What is found is read off cell by cell,
    since centimetres count.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.config = config
        channels, height, width = config.latent
        told = 32
        self.words = InstructionEncoder(config.vocabulary, told, config.max_words)
        self.film = nn.Linear(told, 2 * config.width)
        self.find = nn.Conv2d(channels, config.width, 3, padding=1)
        self.place = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.keep = nn.Conv2d(config.width, 12, 1)
        read = 12 * height * width + told + config.state_dim
        self.act = nn.Sequential(
            nn.Linear(read, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.horizon * config.action_dim),
        )

    def forward(self, latents_BCHW: Tensor, state_BP: Tensor | None, words_BL: Tensor) -> Tensor:
        told = self.words(words_BL)
        scale, shift = rearrange(self.film(told), "b (two d) -> two b d 1 1", two=2)
        seen = F.silu(self.find(latents_BCHW) * (1 + scale) + shift)
        seen = self.keep(F.silu(self.place(seen))).flatten(1)
        if state_BP is None:
            state_BP = seen.new_zeros(len(seen), self.config.state_dim)
        actions: Tensor = self.act(torch.cat((seen, told, state_BP), dim=1))
        return actions.view(len(actions), self.config.horizon, -1)
