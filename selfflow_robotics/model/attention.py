"""Frame-causal attention with a cache of clean history.

Tokens of a frame see all tokens of their own frame and of every earlier one. Frames are told apart
by rotary positions along time (RoFormer, arXiv 2104.09864): the identity for frame 0, so that a
one-frame video is an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Cache:
    """Keys and values of clean frames, a pair a layer, each (B, heads, frames * M, head width)."""

    layers: tuple[tuple[Tensor, Tensor], ...]
    frames: int

    def expand(self, candidates: int) -> Cache:
        """Every row `candidates` times in a row: (B, ...) -> (B * candidates, ...)."""
        layers = tuple(
            (
                repeat(k, "b ... -> (b k) ...", k=candidates),
                repeat(v, "b ... -> (b k) ...", k=candidates),
            )
            for k, v in self.layers
        )
        return Cache(layers, self.frames)

    def append(self, other: Cache) -> Cache:
        """This history followed by the frames of `other`."""
        layers = tuple(
            (torch.cat((k, k_new), dim=2), torch.cat((v, v_new), dim=2))
            for (k, v), (k_new, v_new) in zip(self.layers, other.layers, strict=True)
        )
        return Cache(layers, self.frames + other.frames)


def rotary_time(
    frames: int, tokens: int, head_width: int, first: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine (frames * tokens, head_width / 2) of frames first, first + 1, ..."""
    half = head_width // 2
    frequency = 10000.0 ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    time = torch.arange(first, first + frames, device=device, dtype=torch.float32)
    angle = repeat(torch.outer(time, frequency), "t d -> (t m) d", m=tokens)
    return angle.cos(), angle.sin()


def rotate(x_BHLD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs (first half, second half) of the last axis by the angle of their frame."""
    cos, sin = (part.to(x_BHLD.dtype) for part in rotation)
    a, b = x_BHLD.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def frame_causal_mask(frames: int, tokens: int, past: int, device: torch.device) -> Tensor | None:
    """Boolean (frames * tokens, past + frames * tokens), True where attention is allowed.

    None for a single frame: it sees everything there is.
    """
    if frames == 1:
        return None
    index = torch.arange(frames, device=device).repeat_interleave(tokens)
    own = index[:, None] >= index[None, :]
    return torch.cat((own.new_ones(len(index), past), own), dim=1)


class FrameCausalAttention(nn.Module):
    """Multi-head attention over the tokens of all frames, (B, L, D) -> (B, L, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} must be a multiple of {heads} heads of even width")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x_BLD: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend to `past` and to the frames given. Also returns the new keys and values."""
        q, k, v = rearrange(
            self.qkv(x_BLD), "b l (three h d) -> three b h l d", three=3, h=self.heads
        )
        q, k = rotate(q, rotation), rotate(k, rotation)
        new = (k, v)
        if past is not None:
            k, v = torch.cat((past[0], k), dim=2), torch.cat((past[1], v), dim=2)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(rearrange(out, "b h l d -> b l (h d)")), new
