"""Modalities as tokens: in, out and where they sit.

A frame is N video tokens, then one action token (the action that led to the frame), then one of
proprioception, then those of what else is declared; each only where it is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from .modality import VIDEO, ByModality, Modality


@dataclass(frozen=True)
class Frames(ByModality):
    """The tokens of T frames, noised or clean.

    `anchor_BTNC` is the last clean frame before each frame, zeros where there is none, and
    `anchor_state_BTP` proprioception in it, which only cells read; `action_BTA` led to the frame.
    """

    video_BTNC: Tensor
    anchor_BTNC: Tensor | None = None
    action_BTA: Tensor | None = None
    state_BTP: Tensor | None = None
    anchor_state_BTP: Tensor | None = None


def patchify(latents: Tensor, patch: int) -> Tensor:
    """Latents (..., C, h, w) to tokens (..., N, C * patch * patch), channel first in a token."""
    return rearrange(latents, "... c (h p) (w q) -> ... (h w) (c p q)", p=patch, q=patch)


def unpatchify(tokens: Tensor, patch: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify` for a grid of (rows, columns) tokens."""
    return rearrange(
        tokens, "... (h w) (c p q) -> ... c (h p) (w q)", h=grid[0], w=grid[1], p=patch, q=patch
    )


def sincos_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """Fixed 2-D positions (1, N, width) of a grid in row-major order: column, then row (MAE)."""
    rows, columns = torch.meshgrid(
        torch.arange(grid[0], dtype=torch.float64),
        torch.arange(grid[1], dtype=torch.float64),
        indexing="ij",
    )
    quarter = width // 4
    frequency = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    parts = []
    for position in (columns.flatten(), rows.flatten()):
        angle = torch.outer(position, frequency)
        parts += [angle.sin(), angle.cos()]
    return torch.cat(parts, dim=1).float().unsqueeze(0)


class TokensIn(nn.Module):
    """Projections of all modalities, of which the first is video, to the width of the network."""

    def __init__(
        self, width: int, modalities: Sequence[Modality], grid: tuple[int, int], anchor: bool
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.video = nn.Linear(modalities[0].size, width)
        self.anchor = nn.Linear(modalities[0].size, width, bias=False) if anchor else None
        for one in modalities[1:]:
            self.add_module(one.part, nn.Linear(one.size, width))
        self.register_buffer("positions", sincos_positions(width, grid))
        self.positions: Tensor

    def forward(self, frames: Frames) -> Tensor:
        """Tokens (B, T, M, D) of all modalities that are given, in the order they are declared."""
        video = self.video(frames.video_BTNC)
        video = video + self.positions.to(video.dtype)
        if frames.anchor_BTNC is not None:
            if self.anchor is None:
                raise ValueError("this model was built without anchors (anchor=False)")
            video = video + self.anchor(frames.anchor_BTNC)
        given = dict(frames.values(VIDEO))
        if strange := given.keys() - {one.name for one in self.modalities}:
            raise ValueError(f"this model was built without {min(strange)} tokens")
        tokens = [video]
        for one in self.modalities[1:]:
            if one.name in given:
                projected = self.get_submodule(one.part)(given[one.name])
                tokens.append(_as_tokens(projected, one, self.positions.shape[-1]))
        return torch.cat(tokens, dim=2)


class TokensOut(nn.Module):
    """Projections from the width of the network to a velocity in each modality."""

    def __init__(
        self, width: int, modalities: Sequence[Modality], out_dim: int, anchor: bool
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.video = nn.Linear(width, out_dim)
        self.skip = nn.Linear(2 * modalities[0].size, out_dim, bias=False) if anchor else None
        for one in modalities[1:]:
            self.add_module(one.part, nn.Linear(width, one.size))

    def forward(self, tokens_BTMD: Tensor, frames: Frames) -> dict[str, Tensor]:
        """The velocity of each modality that is given, shaped as that."""
        count = frames.video_BTNC.shape[2]
        video = self.video(tokens_BTMD[:, :, :count])
        if frames.anchor_BTNC is not None and self.skip is not None:
            both = torch.cat((frames.video_BTNC, frames.anchor_BTNC), dim=-1)
            video = video + self.skip(both)
        found, first = {VIDEO: video}, count
        for one in self.modalities[1:]:
            value = frames.of(one.name)
            if value is not None:
                part = tokens_BTMD[:, :, first : first + one.tokens]
                part = part if value.dim() == 4 else part[:, :, 0]
                found[one.name] = self.get_submodule(one.part)(part)
                first += one.tokens
        return found


def _as_tokens(projected: Tensor, one: Modality, width: int) -> Tensor:
    """(B, T, tokens, D); several tokens of a frame are told apart by their places in a row."""
    if projected.dim() == 3:
        projected = projected.unsqueeze(2)
    if projected.shape[2] != one.tokens:
        raise ValueError(
            f"{one.name} has {projected.shape[2]} tokens a frame; this model was built for "
            f"{one.tokens}"
        )
    if one.tokens == 1:
        return projected
    return projected + sincos_positions(width, (1, one.tokens)).to(projected)
