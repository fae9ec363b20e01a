"""What the network learns from: Self-Flow, and what it is compared with.

Self-Flow (arXiv 2603.06507): the student sees tokens at two noise levels, an exponential moving
average of it sees every token at the cleaner one, and the student's early features predict the
teacher's later ones. The velocity loss is as ever; flow matching and diffusion forcing have it
alone, SRA and REPA predict other features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.clips import Clips
from ..model.dit import DiT, Output
from ..model.heads import ProjectionHead
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

    def projector(self, width: int) -> nn.Module:
        """What training needs besides the network of this width; trained along, not exported."""
        return ProjectionHead(width)

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


def _told(noised: NoisedClips, network: DiT) -> NoisedClips:
    encode = network.encode_instruction if network.instruction is not None else None
    return noised.with_instructions(encode)


class DiffusionForcing(FlowMatching):
    """Velocity losses with an independent timestep for each future frame (arXiv 2407.01392)."""

    name = "diffusion_forcing"

    def __init__(
        self, noising: Noising, patch: int, weights: dict[str, float] | None = None
    ) -> None:
        super().__init__(replace(noising, mask_ratio=0.0, per_frame=True), patch, weights)


class Alignment(FlowMatching):
    """Velocity losses + `representation` * distance of projected early features from a target.

    Which features are the target, and what distance means, is up to the method.
    """

    def __init__(
        self,
        noising: Noising,
        patch: int,
        weights: dict[str, float] | None = None,
        representation: float = 0.8,
        student_depth: float = 0.3,
    ) -> None:
        super().__init__(noising, patch, {"representation": representation, **(weights or {})})
        self.student_depth = student_depth

    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """The features to predict, (B, T, M or N, E): of all tokens of a frame or of video's."""
        raise NotImplementedError

    def distance(self, early: Tensor, target: Tensor) -> Tensor:
        """How far features (B, T, M, E) in fp32 are from the target, (B, T, M): 1 - cosine."""
        return 1 - F.cosine_similarity(early, target, dim=-1)

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
        counts = counts or self.counts(noised)
        low, high = student.config.layer(self.student_depth), student.config.layer(0.7)
        with torch.no_grad():
            target = self.target(teacher, noised).float()
        out = _seen(student, _told(noised, student).student, (low, high))
        # Video tokens come first in a frame.
        early = projector(out.features[low][:, :, : target.shape[2]]).float()
        losses = velocity_losses(out, noised, counts)
        apart = self.distance(early, target).mean(dim=2).sum()
        losses["representation"] = apart / counts["representation"]
        measured = {
            "cosine": F.cosine_similarity(early.detach(), target, dim=-1).mean(),
            "teacher_spread": target.flatten(0, 2).std(dim=0).mean(),
        }
        return Losses(self._total(losses), losses, measured, out.features[high], noised.clean_BT)


class SelfFlow(Alignment):
    """The target is the EMA teacher's later features of the view at the cleaner timestep."""

    name = "self_flow"
    teacher_depth = 0.7

    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """The teacher's raw features of all tokens; it hears instructions with its own words."""
        layer = teacher.config.layer(self.teacher_depth)
        view = _told(noised, teacher).teacher
        return _seen(teacher, view, (layer,), stop_after=layer).features[layer]


class SRA(SelfFlow):
    """Self-representation alignment (arXiv 2505.02831): one timestep a clip, a cleaner teacher.

    The teacher's timestep is less by U[0, 0.2] and the distance is smooth L1 with beta 0.05, weight
    0.2, as in the authors' code (vvvvvjdy/SRA, SiT-SRA: t_max, smooth_l1_loss, the weight of the
    first 150 epochs; it is lowered later, which is not done here). Layers are 8 and 20 of 28.
    """

    name = "sra"

    def __init__(
        self,
        noising: Noising,
        patch: int,
        weights: dict[str, float] | None = None,
        representation: float = 0.2,
    ) -> None:
        cleaner = replace(noising, mask_ratio=0.0, teacher_interval=0.2)
        super().__init__(cleaner, patch, weights, representation)

    def distance(self, early: Tensor, target: Tensor) -> Tensor:
        """Smooth L1, the mean over the width."""
        return F.smooth_l1_loss(early, target, beta=0.05, reduction="none").mean(dim=-1)


class Features(Protocol):
    """A frozen encoder: clean latents (B, T, C, h, w) to features (B, T, N, `width`)."""

    width: int

    def __call__(self, latents_BTCHW: Tensor, /) -> Tensor: ...


class REPA(Alignment):
    """Representation alignment (arXiv 2410.06940): the target is an encoder's view of clean frames.

    Only video tokens have one. Weight 0.5 and layer 8 of 28 as in the authors' code
    (sihyun-yu/REPA); the projector has 3 layers, 2048 wide inside.
    """

    name = "repa"

    def __init__(
        self,
        noising: Noising,
        patch: int,
        features: Features,
        weights: dict[str, float] | None = None,
        representation: float = 0.5,
    ) -> None:
        super().__init__(replace(noising, mask_ratio=0.0), patch, weights, representation)
        self.features = features

    def projector(self, width: int) -> nn.Module:
        """Width of the network to that of the encoder."""
        sizes = (width, 2048, 2048, self.features.width)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.SiLU()]
        return nn.Sequential(*layers[:-1])

    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """The encoder's features of the clean frames."""
        assert noised.latents_BTCHW is not None
        found = self.features(noised.latents_BTCHW)
        expected = (*noised.velocity_BTNC.shape[:3], self.features.width)
        if tuple(found.shape) != expected:
            raise ValueError(
                f"the encoder gave features of shape {tuple(found.shape)}; the network's video "
                f"tokens need {expected}"
            )
        return found
