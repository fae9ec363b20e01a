"""Local mixing around the tokens of the network: convolutions at the resolution of latent cells.

Most of what an action does to a picture is local, and a patch is too coarse to say where an edge
comes to lie. So cells are mixed by convolutions before they become tokens, and after tokens come
back to cells. What the convolutions make is the change from the last clean frame.

Cells are told where the arm was, what it does and where it will be as numbers (FiLM, arXiv
1709.07871) and as maps: learned projections of the numbers, since a convolution knows no places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .modality import ACTION, PROPRIOCEPTION, VIDEO
from .tokens import Frames, patchify, unpatchify

MAPS, READ = 12, 12
LEAST_TIME = 0.05
"""Below this much noise, velocities are those of steps from here: there is nothing left to see."""


@dataclass(frozen=True)
class Local:
    """Cells (B * T, cells, h, w) of T frames before they become tokens, and what they are told."""

    x_FWhw: Tensor
    told_FD: Tensor
    times_BTM: Tensor


class FilmBlock(nn.Module):
    """Two convolutions added to what they read, modulated between them by what cells are told."""

    def __init__(self, cells: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(cells, cells, 3, padding=1)
        self.film = nn.Linear(width, 2 * cells)
        self.second = nn.Conv2d(cells, cells, 3, padding=1)

    def forward(self, x_FWhw: Tensor, told_FD: Tensor) -> Tensor:
        scale, shift = self.film(told_FD)[:, :, None, None].chunk(2, dim=1)
        h = self.first(F.gelu(x_FWhw)) * (1 + scale) + shift
        return x_FWhw + self.second(F.gelu(h))  # type: ignore[no-any-return]


class Reading(nn.Module):
    """What a token that is no patch of the picture reads off cells, place by place: (F, width).

    A patch is centimetres wide, and where in it a thing lies decides how far an arm has to go.
    """

    def __init__(self, cells: int, area: int, width: int) -> None:
        super().__init__()
        self.keep = nn.Conv2d(cells, READ, 1)
        self.tell = nn.Sequential(
            nn.Linear(READ * area + width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, local: Local) -> Tensor:
        seen = self.keep(F.gelu(local.x_FWhw)).flatten(1)
        return self.tell(torch.cat((seen, local.told_FD), dim=1))  # type: ignore[no-any-return]


class Cells(nn.Module):
    """What stands before the tokens of video, and after them.

    Args:
        channels: of latents.
        cells: channels of the convolutions.
        grid: (rows, columns) of tokens, of patch * patch cells each.
        width: of the network, whose modulation rows cells are told as well.
        state_dim, action_dim: 0 where there are none.
        acting: the tokens of other modalities read cells, and say what they are without noise.
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        grid: tuple[int, int],
        patch: int,
        width: int,
        state_dim: int,
        action_dim: int,
        acting: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.sizes = (state_dim, action_dim, state_dim)
        numbers = sum(self.sizes) + 1
        area = grid[0] * grid[1] * patch**2
        self.numbers = nn.Sequential(nn.Linear(numbers, width), nn.SiLU(), nn.Linear(width, width))
        self.maps = nn.Sequential(
            nn.Linear(numbers, width), nn.SiLU(), nn.Linear(width, MAPS * area)
        )
        self.stem = nn.Conv2d(2 * channels + MAPS + 1, cells, 3, padding=1)
        self.before = FilmBlock(cells, width)
        self.join = nn.Conv2d(2 * cells, cells, 3, padding=1)
        self.after = FilmBlock(cells, width)
        self.out = nn.Conv2d(cells, channels, 3, padding=1)
        self.reading = Reading(cells, area, width) if acting else None

    def start_from_anchor(self) -> None:
        """Begin by predicting that the frame stays as its anchor."""
        for part in (self.before.film, self.after.film, self.out):
            nn.init.zeros_(part.weight)
            assert part.bias is not None
            nn.init.zeros_(part.bias)

    def forward(self, frames: Frames, times_BTM: Tensor, told_BTD: Tensor) -> Local:
        """Cells of frames whose tokens are at these times; B and T of the times may be 1.

        What is noised counts for 1 - t of itself, so that pure noise disturbs nothing.

        Args:
            told_BTD: the mean modulation row of a frame's video tokens.
        """
        batch, count, tokens, _ = frames.video_BTNC.shape
        numbers = self._numbers(frames, times_BTM)
        told = F.silu(self.numbers(numbers) + told_BTD)
        times_BTN1 = times_BTM[:, :, :tokens, None].expand(batch, count, tokens, 1)
        noisy = self._cells(frames.video_BTNC * (1 - times_BTN1))
        anchor = self._cells(_anchor(frames))
        time = self._cells(times_BTN1.expand(-1, -1, -1, self.patch**2).to(noisy))
        maps = self.maps(numbers).view(batch * count, MAPS, *noisy.shape[-2:])
        x = self.stem(torch.cat((anchor, noisy, time, maps.to(noisy)), dim=1))
        told = rearrange(told, "b t d -> (b t) d")
        return Local(self.before(x, told), told, times_BTM)

    def tokens(self, local: Local, batch: int) -> Tensor:
        """What the network reads of a frame as tokens, (B, T, N, cells * patch * patch)."""
        tokens = patchify(local.x_FWhw, self.patch)
        return rearrange(tokens, "(b t) n x -> b t n x", b=batch)

    def read(self, local: Local, x_BTMD: Tensor) -> Tensor:
        """The tokens with what those behind the picture's read, where they do."""
        if self.reading is None:
            return x_BTMD
        count = self.grid[0] * self.grid[1]
        read = rearrange(self.reading(local), "(b t) d -> b t 1 d", b=len(x_BTMD))
        return torch.cat((x_BTMD[:, :, :count], x_BTMD[:, :, count:] + read), dim=2)

    def velocities(
        self, local: Local, found: Mapping[str, Tensor], frames: Frames
    ) -> dict[str, Tensor]:
        """Of all modalities, from what the network makes of their tokens."""
        velocity = {**found, VIDEO: self.velocity(local, found[VIDEO], frames)}
        first = found[VIDEO].shape[2]
        for name, value in frames.values(VIDEO) if self.reading is not None else ():
            count = value.shape[2] if value.dim() == 4 else 1
            which = first if value.dim() == 3 else slice(first, first + count)
            times = local.times_BTM[:, :, which, None].clamp(min=LEAST_TIME)
            velocity[name] = (value - found[name]) / times
            first += count
        return velocity

    def velocity(self, local: Local, tokens_BTNX: Tensor, frames: Frames) -> Tensor:
        """Of video, (B, T, N, C): towards the anchor and what changes in it."""
        count = tokens_BTNX.shape[2]
        x = self.join(torch.cat((local.x_FWhw, self._cells(tokens_BTNX)), dim=1))
        change = self.out(F.gelu(self.after(x, local.told_FD)))
        change = rearrange(patchify(change, self.patch), "(b t) n c -> b t n c", b=len(tokens_BTNX))
        clean = _anchor(frames) + change
        times = local.times_BTM[:, :, :count, None].clamp(min=LEAST_TIME)
        return (frames.video_BTNC - clean) / times

    def _numbers(self, frames: Frames, times_BTM: Tensor) -> Tensor:
        """Proprioception of the anchor, the action, proprioception after it, and a one."""
        batch, count, first, _ = frames.video_BTNC.shape
        given = {} if frames.anchor_state_BTP is None else {"": frames.anchor_state_BTP}
        for name, value in frames.values(VIDEO):
            time = times_BTM[:, :, first : first + 1]
            first += value.shape[2] if value.dim() == 4 else 1
            if name in (ACTION, PROPRIOCEPTION):
                given[name] = value * (1 - time)
        new = frames.video_BTNC.new_zeros
        parts = [
            given.get(name, new(batch, count, size))
            for name, size in zip(("", ACTION, PROPRIOCEPTION), self.sizes, strict=True)
        ]
        return torch.cat((*parts, new(batch, count, 1) + 1), dim=-1)

    def _cells(self, tokens_BTNX: Tensor) -> Tensor:
        return unpatchify(tokens_BTNX, self.patch, self.grid).flatten(0, 1)


def _anchor(frames: Frames) -> Tensor:
    anchor = frames.anchor_BTNC
    return torch.zeros_like(frames.video_BTNC) if anchor is None else anchor
