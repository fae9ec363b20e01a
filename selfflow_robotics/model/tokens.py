"""Image, video, action and proprioception as tokens: in, out and where they sit.

Modalities differ only here (their projections and positions) and in their noise distribution
(`flow.timesteps`). A frame is N video tokens, then one action token (the action that led to the
frame), then one proprioception token; the latter two only where the model was built with them.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn


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
    """Projections of all modalities to the width of the network."""

    def __init__(
        self,
        width: int,
        token_dim: int,
        grid: tuple[int, int],
        action_dim: int,
        state_dim: int,
        anchor: bool,
    ) -> None:
        super().__init__()
        self.video = nn.Linear(token_dim, width)
        self.anchor = nn.Linear(token_dim, width, bias=False) if anchor else None
        self.action = nn.Linear(action_dim, width) if action_dim else None
        self.state = nn.Linear(state_dim, width) if state_dim else None
        self.register_buffer("positions", sincos_positions(width, grid))
        self.positions: Tensor

    def forward(
        self,
        video_BTNC: Tensor,
        anchor_BTNC: Tensor | None,
        action_BTA: Tensor | None,
        state_BTP: Tensor | None,
    ) -> Tensor:
        """Tokens (B, T, M, D), M = N + one for each of action and proprioception that is given."""
        video = self.video(video_BTNC)
        video = video + self.positions.to(video.dtype)
        if anchor_BTNC is not None:
            if self.anchor is None:
                raise ValueError("this model was built without anchors (anchor=False)")
            video = video + self.anchor(anchor_BTNC)
        tokens = [video]
        for name, projection, value in (
            ("action", self.action, action_BTA),
            ("proprioception", self.state, state_BTP),
        ):
            if value is not None:
                if projection is None:
                    raise ValueError(f"this model was built without {name} tokens")
                tokens.append(projection(value).unsqueeze(2))
        return torch.cat(tokens, dim=2)


class TokensOut(nn.Module):
    """Projections from the width of the network to a velocity in each modality."""

    def __init__(
        self,
        width: int,
        token_dim: int,
        out_dim: int,
        action_dim: int,
        state_dim: int,
        anchor: bool,
    ) -> None:
        super().__init__()
        self.video = nn.Linear(width, out_dim)
        self.skip = nn.Linear(2 * token_dim, out_dim, bias=False) if anchor else None
        self.action = nn.Linear(width, action_dim) if action_dim else None
        self.state = nn.Linear(width, state_dim) if state_dim else None

    def forward(
        self, tokens_BTMD: Tensor, video_BTNC: Tensor, anchor_BTNC: Tensor | None, action: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Velocities of video (B, T, N, out), action (B, T, A) and proprioception (B, T, P)."""
        count = video_BTNC.shape[2]
        video = self.video(tokens_BTMD[:, :, :count])
        if anchor_BTNC is not None and self.skip is not None:
            video = video + self.skip(torch.cat((video_BTNC, anchor_BTNC), dim=-1))
        rest = list(tokens_BTMD[:, :, count:].unbind(dim=2))
        action_out = self.action(rest.pop(0)) if action and self.action else None
        state_out = self.state(rest.pop(0)) if rest and self.state else None
        return video, action_out, state_out
