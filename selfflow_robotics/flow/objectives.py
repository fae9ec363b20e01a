"""What the network learns from: Self-Flow, and plain flow matching.

Self-Flow (arXiv 2603.06507): the student sees tokens at two noise levels, an exponential moving
average of it sees every token at the cleaner one, and the student's early features predict the
teacher's later ones. The velocity loss is as ever.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.clips import Clips
from ..model.dit import DiT, Output
from .noising import NoisedClips, Noising, noise_clips


@dataclass(frozen=True)
class Losses:
    """Scalars of a step. `features_BTMD` are the student's at the teacher's layer."""

    total: Tensor
    parts: dict[str, float]
    features_BTMD: Tensor
    clean_BT: Tensor


def _masked_mean(error: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean of (B, T, ...) over the frames of a mask; 0 when it is empty."""
    per_frame = error.flatten(2).mean(dim=2) if error.dim() > 2 else error
    return (per_frame * mask_BT).sum() / mask_BT.sum().clamp(min=1)


def velocity_losses(out: Output, noised: NoisedClips) -> dict[str, Tensor]:
    """Mean squared errors of the velocity of video, proprioception and actions, in fp32."""
    assert out.video_BTNC is not None
    losses = {
        "video": _masked_mean((out.video_BTNC.float() - noised.velocity_BTNC) ** 2, noised.video_BT)
    }
    if out.state_BTP is not None and noised.velocity_state_BTP is not None:
        error = (out.state_BTP.float() - noised.velocity_state_BTP) ** 2
        losses["proprioception"] = _masked_mean(error, noised.state_BT)
    if out.action_BTA is not None and noised.velocity_action_BTA is not None:
        error = (out.action_BTA.float() - noised.velocity_action_BTA) ** 2
        losses["action"] = _masked_mean(error, noised.action_BT)
    return losses


class FlowMatching:
    """Velocity losses alone, at one timestep a clip (mask_ratio 0) or two."""

    name = "flow_matching"

    def __init__(
        self, noising: Noising, patch: int, weights: dict[str, float] | None = None
    ) -> None:
        self.noising = noising
        self.patch = patch
        self.weights = weights or {}

    def noise(self, student: DiT, clips: Clips, generator: torch.Generator | None) -> NoisedClips:
        """Both views of a batch of clips."""
        encode = student.encode_instruction if student.instruction is not None else None
        return noise_clips(clips, self.patch, self.noising, encode, generator)

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        clips: Clips,
        generator: torch.Generator | None = None,
    ) -> Losses:
        """Losses of a batch; `teacher` and `projector` are not used."""
        noised = self.noise(student, clips, generator)
        layer = student.config.layer(0.7)
        out = student(noised.student.frames, noised.student.conditions, feature_layers=(layer,))
        return self._sum(velocity_losses(out, noised), out.features[layer], noised)

    def _sum(self, losses: dict[str, Tensor], features: Tensor, noised: NoisedClips) -> Losses:
        total = sum(
            (self.weights.get(k, 1.0) * v for k, v in losses.items()), start=torch.zeros(())
        )
        parts = {k: float(v.detach()) for k, v in losses.items()}
        return Losses(total, parts, features, noised.clean_BT)


class SelfFlow(FlowMatching):
    """Velocity losses + `representation` * (1 - cosine) between student and teacher features."""

    name = "self_flow"

    def __init__(
        self,
        noising: Noising,
        patch: int,
        weights: dict[str, float] | None = None,
        representation: float = 0.8,
        student_depth: float = 0.3,
        teacher_depth: float = 0.7,
    ) -> None:
        super().__init__(noising, patch, {"representation": representation, **(weights or {})})
        self.student_depth = student_depth
        self.teacher_depth = teacher_depth

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        clips: Clips,
        generator: torch.Generator | None = None,
    ) -> Losses:
        """Losses of a batch; only the student and the projector receive gradients."""
        noised = self.noise(student, clips, generator)
        low, high = (
            student.config.layer(share) for share in (self.student_depth, self.teacher_depth)
        )
        with torch.no_grad():
            seen = noised.teacher
            cleaner = teacher(
                seen.frames, seen.conditions, feature_layers=(high,), stop_after=high
            ).features[high]
        out = student(noised.student.frames, noised.student.conditions, feature_layers=(low, high))
        cosine = F.cosine_similarity(
            projector(out.features[low]).float(), cleaner.float(), dim=-1
        ).mean()
        losses = velocity_losses(out, noised)
        losses["representation"] = 1 - cosine
        result = self._sum(losses, out.features[high], noised)
        spread = cleaner.float().flatten(0, 2).std(dim=0).mean()
        result.parts.update(cosine=float(cosine.detach()), teacher_spread=float(spread))
        return result
