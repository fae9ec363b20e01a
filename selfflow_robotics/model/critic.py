"""A critic: the steps still needed from a frame, told in words or shown as a goal's frame.

It finds things in latents cell by cell, as the policy prior does, since centimetres count, and is
shown where the arm is beside them: as maps, since a convolution knows no places. Each of its heads
says a distribution over steps; where they disagree, what they say is a guess.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conditioning import InstructionEncoder

MAPS = 12
"""Learned projections of proprioception onto latent cells."""


@dataclass(frozen=True)
class CriticConfig:
    """Sizes of a critic: latents, proprioception and words it knows; its own."""

    latent: tuple[int, int, int]  # channels, height, width
    state_dim: int
    vocabulary: int
    max_words: int
    heads: int = 2
    most: int = 40  # steps it counts to; what needs more is lost
    width: int = 48
    hidden: int = 128


class Head(nn.Module):
    """One of a critic's heads; see :class:`Critic`. `felt_BF` is proprioception and the goal's."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        channels, height, width = config.latent
        told, kept, felt = 32, 12, 2 * config.state_dim
        self.words = InstructionEncoder(config.vocabulary, told, config.max_words)
        self.film = nn.Linear(told, 2 * config.width)
        self.find = nn.Conv2d(channels, config.width, 3, padding=1)
        self.find_goal = nn.Conv2d(channels, config.width, 3, padding=1, bias=False)
        self.find_before = nn.Conv2d(channels, config.width, 3, padding=1, bias=False)
        self.place = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.maps = nn.Sequential(
            nn.Linear(felt, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, MAPS * height * width),
        )
        self.told = nn.Sequential(nn.Linear(told + felt, config.hidden), nn.SiLU())
        self.film_near = nn.Linear(config.hidden, 2 * config.width)
        self.near = nn.Conv2d(config.width + MAPS, config.width, 3, padding=1)
        self.change = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.keep = nn.Conv2d(config.width, kept, 1)
        self.count = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(kept * height * width + told + felt, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.SiLU(),
            nn.Linear(config.hidden, config.most + 1),
        )

    def forward(
        self,
        latents_BCHW: Tensor,
        felt_BF: Tensor,
        words_BL: Tensor,
        goal_BCHW: Tensor | None,
        before_BCHW: Tensor,
    ) -> Tensor:
        """Logits (B, N)."""
        batch = len(latents_BCHW)
        told = self.words(words_BL).to(felt_BF.dtype)
        known = torch.cat((told, felt_BF), dim=1)
        before = self.find_before(before_BCHW)
        found = self.find(latents_BCHW) + before.repeat_interleave(batch // len(before), dim=0)
        if goal_BCHW is not None:
            found = found + self.find_goal(goal_BCHW)
        seen = self.place(F.silu(_modulated(found, self.film(told))))
        maps = self.maps(felt_BF).view(batch, MAPS, *seen.shape[-2:])
        near = self.near(torch.cat((F.silu(seen), maps), dim=1))
        near = _modulated(near, self.film_near(self.told(known)))
        seen = F.silu(seen + self.change(F.silu(near)))
        return self.count(torch.cat((self.keep(seen).flatten(1), known), dim=1))  # type: ignore[no-any-return]


class Critic(nn.Module):
    """Latents (B, C, h, w), proprioception (B, P), words (B, L) or a goal -> logits (B, heads, N).

    The first N - 1 are of 0, 1, 2, ... steps, the last of never: the frame is lost. Proprioception
    is normalised; None stands for unknown. A goal is a frame as well, whose latents are further
    channels of the first convolution; so is the last frame that was seen before it, None for the
    frame itself: what is imagined is blurred, and where things were is still to be read there. Of
    these there may be fewer, each for as many rows in a row.

    Heads share nothing. Where they look at the same features they err alike: on frames that a
    search was drawn to, the deviation of such heads went with their error by a rank correlation of
    0.02 to 0.31, the difference of two critics apart by 0.36 to 0.55.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self.heads = nn.ModuleList(Head(config) for _ in range(config.heads))

    def forward(
        self,
        latents_BCHW: Tensor,
        state_BP: Tensor | None = None,
        words_BL: Tensor | None = None,
        goal_BCHW: Tensor | None = None,
        goal_state_BP: Tensor | None = None,
        before_BCHW: Tensor | None = None,
    ) -> Tensor:
        batch, dtype = len(latents_BCHW), self.dtype
        if words_BL is None:
            words_BL = torch.zeros(batch, 1, dtype=torch.long, device=latents_BCHW.device)
        unknown = latents_BCHW.new_zeros(batch, self.config.state_dim, dtype=dtype)
        felt_BF = torch.cat(
            [unknown if one is None else one.to(dtype) for one in (state_BP, goal_state_BP)], dim=1
        )
        latents = latents_BCHW.to(dtype, memory_format=torch.channels_last)
        before = latents if before_BCHW is None else before_BCHW.to(dtype)
        goal = None if goal_BCHW is None else goal_BCHW.to(dtype)
        said = [head(latents, felt_BF, words_BL, goal, before) for head in self.heads]
        return torch.stack(said, dim=1)

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    @staticmethod
    def steps(logits: Tensor) -> Tensor:
        """Expected steps (...) of logits (..., N); what is lost counts as the most."""
        chance = logits.float().softmax(dim=-1)
        return chance @ torch.arange(chance.shape[-1], device=chance.device, dtype=chance.dtype)

    @staticmethod
    def lost(logits: Tensor) -> Tensor:
        """Chance (...) that the frame is lost, of logits (..., N)."""
        return logits.float().softmax(dim=-1)[..., -1]


def _modulated(x_BWhw: Tensor, film_B2W: Tensor) -> Tensor:
    scale, shift = film_B2W[:, :, None, None].chunk(2, dim=1)
    return x_BWhw * (1 + scale) + shift
