"""What the network learns from: Self-Flow, and plain flow matching.

Self-Flow (arXiv 2603.06507): the student sees tokens at two noise levels, an exponential moving
average of it sees every token at the cleaner one, and the student's early features predict the
teacher's later ones. The velocity loss is as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.clips import Clips
from ..model.dit import DiT, Output
from .noising import NoisedClips, Noising, View, noise_clips

Counts = Mapping[str, Tensor]
"""Of how many frames each loss is the mean."""


@dataclass(frozen=True)
class Losses:
    """Scalars of a step: their weighted sum, and each with its gradient.

    `measured` is for the curves only. `features_BTMD` are the student's at the teacher's layer.
    """

    total: Tensor
    parts: dict[str, Tensor]
    measured: dict[str, Tensor]
    features_BTMD: Tensor
    clean_BT: Tensor


def _sum(error: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum over the frames of a mask of the mean error (B, T, ...) of a frame."""
    per_frame = error.flatten(2).mean(dim=2) if error.dim() > 2 else error
    return (per_frame * mask_BT).sum()


def velocity_losses(out: Output, noised: NoisedClips, counts: Counts) -> dict[str, Tensor]:
    """Mean squared errors of the velocity of video, proprioception and actions, in fp32.

    A mean over no frames at all is 0.
    """
    assert out.video_BTNC is not None
    error = (out.video_BTNC.float() - noised.velocity_BTNC) ** 2
    sums = {"video": _sum(error, noised.video_BT)}
    if out.state_BTP is not None and noised.velocity_state_BTP is not None:
        error = (out.state_BTP.float() - noised.velocity_state_BTP) ** 2
        sums["proprioception"] = _sum(error, noised.state_BT)
    if out.action_BTA is not None and noised.velocity_action_BTA is not None:
        error = (out.action_BTA.float() - noised.velocity_action_BTA) ** 2
        sums["action"] = _sum(error, noised.action_BT)
    return {name: value / counts[name].clamp(min=1) for name, value in sums.items()}


class FlowMatching:
    """Velocity losses alone, at one timestep a clip (mask_ratio 0) or two.

    A step is `noise`, then `counts`, then the objective itself. Counts add up over the parts of a
    batch (micro-batches, ranks); with the sum of all, the losses of the parts add up as well, to
    those of the whole.
    """

    name = "flow_matching"

    def __init__(
        self, noising: Noising, patch: int, weights: dict[str, float] | None = None
    ) -> None:
        self.noising = noising
        self.patch = patch
        self.weights = weights or {}

    def noise(self, clips: Clips, streams: Sequence[torch.Generator]) -> NoisedClips:
        """Both views of a batch of clips, of which each has a random stream."""
        return noise_clips(clips, self.patch, self.noising, streams)

    def counts(self, noised: NoisedClips) -> dict[str, Tensor]:
        """Frames that count in each loss."""
        return {
            "video": noised.video_BT.sum(),
            "proprioception": noised.state_BT.sum(),
            "action": noised.action_BT.sum(),
        }

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        noised: NoisedClips,
        counts: Counts | None = None,
    ) -> Losses:
        """Losses of a batch, or its share in the losses of a larger one that has these counts.

        `teacher` and `projector` are not used.
        """
        noised = _told(noised, student)
        layer = student.config.layer(0.7)
        out = _seen(student, noised.student, (layer,))
        losses = velocity_losses(out, noised, counts or self.counts(noised))
        return Losses(self._total(losses), losses, {}, out.features[layer], noised.clean_BT)

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights.get(k, 1.0) * v for k, v in losses.items()]).sum()


def _seen(
    network: DiT, view: View, feature_layers: tuple[int, ...], stop_after: int | None = None
) -> Output:
    out: Output = network(
        view.frames,
        view.conditions,
        feature_layers=feature_layers,
        stop_after=stop_after,
        keep_cache=False,
    )
    return out


def _told(noised: NoisedClips, student: DiT) -> NoisedClips:
    encode = student.encode_instruction if student.instruction is not None else None
    return noised.with_instructions(encode)


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

    def counts(self, noised: NoisedClips) -> dict[str, Tensor]:
        """Frames that count in each loss; the representation's are all."""
        every = torch.ones_like(noised.clean_BT).sum()
        return {**super().counts(noised), "representation": every}

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        noised: NoisedClips,
        counts: Counts | None = None,
    ) -> Losses:
        """Losses of a batch; only the student and the projector receive gradients."""
        noised = _told(noised, student)
        counts = counts or self.counts(noised)
        low, high = (
            student.config.layer(share) for share in (self.student_depth, self.teacher_depth)
        )
        with torch.no_grad():
            cleaner = _seen(teacher, noised.teacher, (high,), stop_after=high).features[high]
        out = _seen(student, noised.student, (low, high))
        early = projector(out.features[low])
        cosine_BTM = F.cosine_similarity(early.float(), cleaner.float(), dim=-1)
        losses = velocity_losses(out, noised, counts)
        losses["representation"] = (1 - cosine_BTM.mean(dim=2)).sum() / counts["representation"]
        spread = cleaner.float().flatten(0, 2).std(dim=0).mean()
        measured = {"cosine": cosine_BTM.detach().mean(), "teacher_spread": spread}
        return Losses(self._total(losses), losses, measured, out.features[high], noised.clean_BT)
