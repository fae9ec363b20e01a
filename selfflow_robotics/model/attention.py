"""Frame-causal attention with a cache of clean history.

Tokens of a frame see all tokens of their own frame and of every earlier one. Frames are told apart
by rotary positions along time (RoFormer, arXiv 2104.09864): the identity for frame 0, so that a
one-frame video is an image.

The candidate futures of one history share its keys and values. Attention over the history and over
a candidate's own frames is computed apart and merged by the log-sum-exp of the scores, which is
exact (as in FlashAttention, arXiv 2205.14135): history is neither copied nor read once a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F

KeysValues = tuple[Tensor, Tensor]
"""Each (B, frames * M, heads, head width)."""


SHORT = 256
"""Tokens up to which scores may be held whole, as products that are not fused do."""


@dataclass(frozen=True)
class Cache:
    """Keys and values of clean frames, a pair a layer.

    `layers` are of the history of B rows, `own` of what followed it, for B * K candidates of which
    K in a row share a history. `frames` counts both.
    """

    layers: tuple[KeysValues, ...]
    frames: int
    own: tuple[KeysValues, ...] = ()

    def append(self, other: Cache) -> Cache:
        """This history followed by the frames of `other`, of B rows or of B * K candidates."""
        own = other.layers
        if self.own:
            own = tuple(
                (torch.cat((k, k_new), dim=1), torch.cat((v, v_new), dim=1))
                for (k, v), (k_new, v_new) in zip(self.own, own, strict=True)
            )
        return Cache(self.layers, self.frames + other.frames, own)

    def rows(self, rows: slice) -> Cache:
        """The history of some of the rows, not copied."""
        return Cache(tuple((k[rows], v[rows]) for k, v in self.layers), self.frames)


def rotary_time(
    frames: int, tokens: int, head_width: int, first: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and sine (frames * tokens, head_width / 2) of frames first, first + 1, ..."""
    half = head_width // 2
    frequency = 10000.0 ** (-torch.arange(half, device=device, dtype=torch.float32) / half)
    time = torch.arange(first, first + frames, device=device, dtype=torch.float32)
    angle = repeat(torch.outer(time, frequency), "t d -> (t m) d", m=tokens)
    return angle.cos(), angle.sin()


def rotate(x_BLXHD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs (first half, second half) of the last axis by the angle of their frame."""
    cos, sin = (part[:, None, None].to(x_BLXHD.dtype) for part in rotation)
    a, b = x_BLXHD.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)


def frame_causal_mask(
    frames: int, tokens: int, past: int, device: torch.device, alone: bool = False
) -> Tensor | None:
    """Boolean (frames * tokens, past + frames * tokens), True where attention is allowed.

    None for a single frame: it sees everything there is. With `alone`, frames see only themselves.
    """
    if frames == 1:
        return None
    index = torch.arange(frames, device=device).repeat_interleave(tokens)
    own = index[:, None] >= index[None, :]
    if alone:
        own = own & own.T
    return torch.cat((own.new_ones(len(index), past), own), dim=1)


def attend(
    q_BLHD: Tensor, own: KeysValues, shared: KeysValues, frames: int, mask: Tensor | None
) -> Tensor:
    """Attention of candidates to a history they share and, frame-causally, to frames of their own.

    Args:
        q_BLHD: queries of B * K candidates, (B * K, L, heads, head width).
        own: keys and values of B * K candidates, of which the last L are those of the queries.
        shared: of B rows; all of them are seen.
        frames: that the L queries belong to.
        mask: (L, keys of `own`), from :func:`frame_causal_mask`.

    Returns:
        As `q_BLHD`.
    """
    shared_k, shared_v = (part.to(q_BLHD.dtype) for part in shared)
    if not _has_fused(q_BLHD, *own, shared_k, shared_v):
        return _attend_jointly(q_BLHD, own, (shared_k, shared_v), mask)
    folded = rearrange(q_BLHD, "(b k) l h d -> b (k l) h d", b=len(shared_k))
    out, score = _fused(folded, shared_k, shared_v)
    out, score = out.reshape(q_BLHD.shape), score.reshape(q_BLHD.shape[:-1])
    length = q_BLHD.shape[1]
    past, tokens = own[0].shape[1] - length, length // frames
    # A frame at a time needs no mask, and does not compute what one would hide.
    parts = [
        _fused(q_BLHD[:, end - tokens : end], *(part[:, : past + end] for part in own))
        for end in range(tokens, length + 1, tokens)
    ]
    own_out = torch.cat([part[0] for part in parts], dim=1)
    own_score = torch.cat([part[1] for part in parts], dim=1)
    weight = (score - own_score).sigmoid().to(out.dtype)[..., None]
    return torch.lerp(own_out, out, weight)


def _has_fused(*inputs: Tensor) -> bool:
    """Whether there is a kernel that tells the log-sum-exp, through which it has no gradient."""
    if torch.is_grad_enabled() and any(value.requires_grad for value in inputs):
        return False
    kind, dtype, width = inputs[0].device.type, inputs[0].dtype, inputs[0].shape[-1]
    half = dtype in (torch.bfloat16, torch.float16)
    return kind == "cpu" or (kind == "cuda" and half and width % 8 == 0)


def _fused(q_BLHD: Tensor, k_BPHD: Tensor, v_BPHD: Tensor) -> tuple[Tensor, Tensor]:
    """Attention (B, L, heads, head width), and the log-sum-exp of its scores (B, L, heads)."""
    inputs = [part.transpose(1, 2) for part in (q_BLHD, k_BPHD, v_BPHD)]
    if q_BLHD.device.type == "cpu":
        out, score = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(*inputs)
    else:
        out, score = torch.ops.aten._scaled_dot_product_flash_attention(*inputs)[:2]
    return out.transpose(1, 2), score.transpose(1, 2)


def _attend_jointly(
    q_BLHD: Tensor, own: KeysValues, shared: KeysValues, mask: Tensor | None
) -> Tensor:
    """`attend` with one softmax over all scores: any device, and gradients."""
    rows, length = len(shared[0]), q_BLHD.shape[1]
    q_BLHD = q_BLHD * q_BLHD.shape[-1] ** -0.5
    folded = rearrange(q_BLHD, "(b k) l h d -> b (k l) h d", b=rows)
    far = torch.einsum("blhd,bphd->bhlp", folded, shared[0])
    near = torch.einsum("blhd,bphd->bhlp", q_BLHD, own[0])
    if mask is not None:
        near = near.masked_fill(~mask, -torch.inf)
    far = rearrange(far, "b h (k l) p -> (b k) h l p", l=length)
    weights = torch.cat((far, near), dim=-1).softmax(dim=-1)
    far, near = weights.tensor_split([far.shape[-1]], dim=-1)
    far = rearrange(far, "(b k) h l p -> b h (k l) p", b=rows)
    out = torch.einsum("bhlp,bphd->blhd", far, shared[1])
    out = rearrange(out, "b (k l) h d -> (b k) l h d", l=length)
    return out + torch.einsum("bhlp,bphd->blhd", near, own[1])


def _attention(q_BHLD: Tensor, k_BHLD: Tensor, v_BHLD: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (B, heads, L, head width), fused but where that trains slowly.

    In bfloat16 on a processor the fused kernel's backward pass takes twice to four times as long
    as these products, at the lengths of clips.
    """
    slow = q_BHLD.device.type == "cpu" and q_BHLD.dtype == torch.bfloat16
    trained = torch.is_grad_enabled() and q_BHLD.requires_grad and q_BHLD.shape[2] <= SHORT
    if not (slow and trained):
        return F.scaled_dot_product_attention(q_BHLD, k_BHLD, v_BHLD, attn_mask=mask)
    scores = (q_BHLD * q_BHLD.shape[-1] ** -0.5) @ k_BHLD.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(dim=-1).to(v_BHLD.dtype) @ v_BHLD  # type: ignore[no-any-return]


class FrameCausalAttention(nn.Module):
    """Multi-head attention over the tokens of all frames, (B, T, M, D) -> (B, T, M, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads or (width // heads) % 2:
            raise ValueError(f"width {width} must be a multiple of {heads} heads of even width")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x_BTMD: Tensor,
        rotation: tuple[Tensor, Tensor],
        mask: Tensor | None,
        shared: KeysValues | None,
        own: KeysValues | None,
    ) -> tuple[Tensor, KeysValues]:
        """Attend to `shared` and `own` history and to the frames given.

        Also returns the new keys and values.
        """
        qkv = rearrange(
            self.qkv(x_BTMD), "b t m (three h d) -> b (t m) three h d", three=3, h=self.heads
        )
        q, k = rotate(qkv[:, :, :2], rotation).unbind(2)
        v = qkv[:, :, 2]
        new = (k, v)
        if own is not None:
            k, v = torch.cat((own[0], k), dim=1), torch.cat((own[1], v), dim=1)
        if shared is None:
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            out = _attention(q, k, v, mask).transpose(1, 2)
        else:
            out = attend(q, (k, v), shared, x_BTMD.shape[1], mask)
        return self.proj(out.flatten(2)).view_as(x_BTMD), new
