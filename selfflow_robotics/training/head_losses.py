"""What the heads learn from: steps left to success, and pairs of frames of one episode."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..data.clips import NEVER, Clips
from ..flow.noising import NoisedClips
from ..flow.objectives import Counts, Losses
from ..model.dit import DiT
from ..model.heads import ProgressHead, StepsHead
from ..world_model.world_model import WorldModel

WEIGHTS = {"progress": 0.5, "steps": 0.25}


def judge_counts(clips: Clips, noised: NoisedClips) -> dict[str, Tensor]:
    """Frames that count in each loss of the heads; none where clips say nothing to them."""
    counts: dict[str, Tensor] = {}
    if clips.words_BTL is not None and clips.steps_BT is not None:
        counts["progress"] = _progress_weight(noised.clean_BT, clips.steps_BT).sum()
        if clips.goal_steps_BT is not None:
            counts["steps"] = (noised.clean_BT & (clips.goal_steps_BT >= 0)).sum()
    return counts


def judge_losses(
    student: WorldModel, clips: Clips, losses: Losses, counts: Counts
) -> dict[str, Tensor]:
    """Losses of the heads, on features that the objective computed anyway, divided by `counts`."""
    if student.progress_head is None or student.steps_head is None:
        return {}
    if clips.words_BTL is None or clips.steps_BT is None:
        return {}
    assert losses.features_BTMD is not None
    seen, clean, told_BTD = losses.features_BTMD, losses.clean_BT, told(student.network, clips)
    progress = progress_error(student.progress_head, seen, clean, clips.steps_BT, told_BTD)
    found = {"progress": progress / counts["progress"].clamp(min=1)}
    if clips.goal_BCHW is not None and clips.goal_steps_BT is not None:
        with torch.no_grad():  # the features that planning compares with, as they are
            goals = student.goal_features(clips.goal_BCHW, clips.goal_state_BP)
        steps = steps_error(student.steps_head, seen, clean, goals, clips.goal_steps_BT)
        found["steps"] = steps / counts["steps"].clamp(min=1)
    return found


def _progress_weight(clean_BT: Tensor, steps_BT: Tensor) -> Tensor:
    return clean_BT * torch.where(steps_BT < NEVER, 1.0, 0.2)


def progress_error(
    head: ProgressHead, features_BTMD: Tensor, clean_BT: Tensor, steps_BT: Tensor, told_BTD: Tensor
) -> Tensor:
    """Sum of the cross-entropy of progress on clean frames; those of failed episodes count a fifth.

    A failed episode may still pass through good frames: its label 0 is a guess, not a measurement.
    """
    target = head.gamma**steps_BT
    logits = head(features_BTMD, told_BTD).float()
    error: Tensor = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (error * _progress_weight(clean_BT, steps_BT)).sum()


def steps_error(
    head: StepsHead,
    features_BTMD: Tensor,
    clean_BT: Tensor,
    goals_BMD: Tensor,
    apart_BT: Tensor,
) -> Tensor:
    """Sum of the squared error of log(1 + steps) from clean frames to later ones."""
    valid = clean_BT & (apart_BT >= 0)
    error = (head(features_BTMD, goals_BMD[:, None]) - apart_BT.clamp(min=0).float().log1p()) ** 2
    return (error * valid).sum()  # type: ignore[no-any-return]


def told(network: DiT, clips: Clips) -> Tensor:
    """The instruction of every frame, (B, T, D)."""
    assert clips.words_BTL is not None
    vectors = network.encode_instruction(rearrange(clips.words_BTL, "b t l -> (b t) l"))
    return rearrange(vectors, "(b t) d -> b t d", b=len(clips.words_BTL))
