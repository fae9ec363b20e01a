"""What the heads learn from: steps left to success, and pairs of frames of one episode."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..data.clips import NEVER, Clips
from ..model.heads import ProgressHead, StepsHead


def progress_loss(
    head: ProgressHead, features_BTMD: Tensor, clean_BT: Tensor, steps_BT: Tensor, told_BTD: Tensor
) -> Tensor:
    """Cross-entropy of progress on clean frames; frames of failed episodes count a fifth.

    A failed episode may still pass through good frames: its label 0 is a guess, not a measurement.
    """
    target = head.gamma**steps_BT
    weight: Tensor = clean_BT * torch.where(steps_BT < NEVER, 1.0, 0.2)
    logits = head(features_BTMD, told_BTD).float()
    error: Tensor = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (error * weight).sum() / weight.sum().clamp(min=1)


def steps_loss(
    head: StepsHead,
    features_BTMD: Tensor,
    clean_BT: Tensor,
    goals_BMD: Tensor,
    apart_BT: Tensor,
) -> Tensor:
    """Squared error of log(1 + steps) from each clean frame to a later one of its episode."""
    valid = clean_BT & (apart_BT >= 0)
    error = (head(features_BTMD, goals_BMD[:, None]) - apart_BT.clamp(min=0).float().log1p()) ** 2
    return (error * valid).sum() / valid.sum().clamp(min=1)  # type: ignore[no-any-return]


def told(words_encoder: torch.nn.Module, clips: Clips) -> Tensor:
    """The instruction of every frame, (B, T, D)."""
    assert clips.words_BTL is not None
    vectors: Tensor = words_encoder(rearrange(clips.words_BTL, "b t l -> (b t) l"))
    return rearrange(vectors, "(b t) d -> b t d", b=len(clips.words_BTL))
