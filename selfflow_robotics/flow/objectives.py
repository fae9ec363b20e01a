"""What the network learns from: Self-Flow, and what it is compared against.

Self-Flow (arXiv 2603.06507): the student sees tokens at two noise levels, an exponential moving
average of it sees every token at the cleaner one, and the student's early features predict the
teacher's later ones. The velocity loss is as ever.

SRA and REPA differ from it in what the early features predict, flow matching predicts no features,
and diffusion forcing is flow matching whose frames draw their timesteps one by one: which objective
draws which timesteps is the table in `noising`. On top of each, `shortcut` teaches large steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.clips import Clips
from ..model.dit import DiT, Output
from ..model.heads import ProjectionHead
from ..model.modality import VIDEO
from .noising import NoisedClips, Noising, View, noise_clips
from .timesteps import SRA_GAP

Counts = Mapping[str, Tensor]
"""Of how many frames each loss is the mean."""


@dataclass(frozen=True)
class Losses:
    """Scalars of a step: their weighted sum, and each with its gradient.

    `measured` is for the curves only. `features_BTMD` are the student's at the teacher's layer;
    None where frames have none (`DiTConfig.markov`).
    """

    total: Tensor
    parts: dict[str, Tensor]
    measured: dict[str, Tensor]
    features_BTMD: Tensor | None
    clean_BT: Tensor


def _sum(error: Tensor, mask_BT: Tensor) -> Tensor:
    """Sum over the frames of a mask of the mean error (B, T, ...) of a frame."""
    per_frame = error.flatten(2).mean(dim=2) if error.dim() > 2 else error
    return (per_frame * mask_BT).sum()


def velocity_losses(out: Output, noised: NoisedClips, counts: Counts) -> dict[str, Tensor]:
    """Mean squared errors of the velocity of each modality, in fp32.

    A mean over no frames at all is 0.
    """
    sums = {}
    for name, aim in noised.velocity.items():
        found = out.of(name)
        if found is not None:
            sums[name] = _sum((found.float() - aim) ** 2, noised.counts_BT[name])
    return {name: value / counts[name].clamp(min=1) for name, value in sums.items()}


class FlowMatching:
    """Velocity losses alone.

    How training noises its clips stands in `masks` (some tokens at a second timestep), `per_frame`
    (each frame draws its own), `gap` (the teacher is up to so much cleaner) and `unrolls` (exactly
    the last `Noising.ahead` frames are noised).

    A step is `noise`, then `counts`, then the objective itself. Counts add up over the parts of a
    batch (micro-batches, ranks); with the sum of all, the losses of the parts add up as well, to
    those of the whole.
    """

    masks: ClassVar[bool] = False
    per_frame: ClassVar[bool] = False
    gap: ClassVar[float] = 0.0
    unrolls: ClassVar[bool] = False

    def __init__(
        self, noising: Noising, patch: int, weights: dict[str, float] | None = None
    ) -> None:
        self.noising = noising
        self.patch = patch
        self.weights = {one.name: one.weight for one in noising.more} | (weights or {})

    def noise(self, clips: Clips, streams: Sequence[torch.Generator]) -> NoisedClips:
        """Both views of a batch of clips, of which each has a random stream."""
        return noise_clips(clips, self.patch, self.noising, streams)

    def projector(self, width: int) -> nn.Module:
        """A new head for the features of a network of this width; training's own, never stored."""
        return ProjectionHead(width)

    def counts(self, noised: NoisedClips) -> dict[str, Tensor]:
        """Frames that count in each loss."""
        return {name: frames.sum() for name, frames in noised.counts_BT.items()}

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
        layer = student.config.layer(0.7)
        out = seen(student, noised, noised.student, () if student.config.markov else (layer,))
        losses = velocity_losses(out, noised, counts or self.counts(noised))
        return Losses(self._total(losses), losses, {}, out.features.get(layer), noised.clean_BT)

    def _total(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights.get(k, 1.0) * v for k, v in losses.items()]).sum()


class DiffusionForcing(FlowMatching):
    """Velocity losses of frames whose timesteps are drawn one by one (arXiv 2407.01392)."""

    per_frame = True


def seen(
    network: DiT,
    noised: NoisedClips,
    view: View,
    feature_layers: tuple[int, ...],
    stop_after: int | None = None,
) -> Output:
    """What a network, which encodes the instructions itself, makes of its view.

    Raises:
        ValueError: its features are asked for, and it has no block to make any.
    """
    if feature_layers and not network.config.depth:
        raise ValueError(
            "a network without attention has no features for others to learn from; train it with "
            "objective=unrolled or flow_matching"
        )
    view = noised.telling(
        view, network.encode_instruction if network.instruction is not None else None
    )
    out: Output = network(
        view.frames,
        view.conditions,
        feature_layers=feature_layers,
        stop_after=stop_after,
        keep_cache=False,
    )
    return out


class Alignment(FlowMatching, ABC):
    """Velocity losses + `representation` times how far the student's features are from a target.

    The features are those of an early layer, projected; a subclass says what the target is, and how
    far is measured. Both are compared token by token, history too, in fp32.
    """

    representation: float
    student_depth = 0.3
    late_depth = 0.7

    def __init__(
        self,
        noising: Noising,
        patch: int,
        weights: dict[str, float] | None = None,
    ) -> None:
        share = {"representation": self.representation}
        super().__init__(noising, patch, share | (weights or {}))

    @abstractmethod
    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """Features that the student's are to predict, of a frame's first tokens or all."""

    def distance(self, early: Tensor, target: Tensor) -> Tensor:
        """How far features (B, T, M, D) are from each other, (B, T, M)."""
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
        low, high = (student.config.layer(share) for share in (self.student_depth, self.late_depth))
        with torch.no_grad():
            target = self.target(teacher, noised).float()
        out = seen(student, noised, noised.student, (low, high))
        early = projector(out.features[low][:, :, : target.shape[2]]).float()
        if early.shape != target.shape:
            raise ValueError(
                f"projected features of shape {tuple(early.shape)} are to predict others of "
                f"{tuple(target.shape)}; use the projector of this objective"
            )
        losses = velocity_losses(out, noised, counts)
        far = self.distance(early, target).mean(dim=2).sum()
        losses["representation"] = far / counts["representation"]
        measured = {
            "cosine": F.cosine_similarity(early.detach(), target, dim=-1).mean(),
            "target_spread": target.flatten(0, 2).std(dim=0).mean(),
        }
        return Losses(self._total(losses), losses, measured, out.features[high], noised.clean_BT)


class SelfFlow(Alignment):
    """Predicts, by cosine, what the teacher makes of the cleaner view (eq. 6 and appendix A.3).

    Example:
        >>> objective = SelfFlow(Noising(TimestepDistribution(shift=5.0)), patch=2)
    """

    representation = 0.8
    masks = True

    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """The teacher's features of all tokens, as its block leaves them; it stops there."""
        high = teacher.config.layer(self.late_depth)
        return seen(teacher, noised, noised.teacher, (high,), stop_after=high).features[high]


class Sra(SelfFlow):
    """Self-representation alignment (arXiv 2505.02831): one timestep a clip, a cleaner teacher.

    Layers 8 and 20 of 28 are the depths of Self-Flow; its head is the same. As published for 256
    pixels: smooth L1 with beta 0.05 at weight 0.2 (train.py and loss.py of the authors' SiT-SRA,
    which let the weight fall after 150 epochs of ImageNet; here it stays), the teacher up to 0.2
    cleaner (`Noising.gap`).
    """

    representation = 0.2
    masks = False
    gap = SRA_GAP

    def distance(self, early: Tensor, target: Tensor) -> Tensor:
        """Smooth L1, the mean over the width."""
        return F.smooth_l1_loss(early, target, reduction="none", beta=0.05).mean(dim=-1)


class FrozenFeatures(Protocol):
    """What another network, pretrained and frozen, sees in clean frames."""

    @property
    def width(self) -> int:
        """E, values of a feature."""
        ...

    def __call__(self, latents_BTCHW: Tensor) -> Tensor:
        """Features (B, T, N, E), one for each video token."""
        ...


class Repa(Alignment):
    """Predicts, by cosine, a pretrained encoder's features of the clean frames (arXiv 2410.06940).

    Tokens of actions and proprioception have no counterpart there and count for nothing. Weight,
    layer (8 of 28) and the projector, three layers by way of 2048, are the published ones.
    """

    representation = 0.5

    def __init__(
        self,
        noising: Noising,
        patch: int,
        features: FrozenFeatures,
        weights: dict[str, float] | None = None,
    ) -> None:
        super().__init__(noising, patch, weights)
        self.features = features

    def projector(self, width: int) -> nn.Module:
        """From the network's width to the encoder's."""
        inner = 2048
        first, last = nn.Linear(width, inner), nn.Linear(inner, self.features.width)
        return nn.Sequential(first, nn.SiLU(), nn.Linear(inner, inner), nn.SiLU(), last)

    def target(self, teacher: DiT, noised: NoisedClips) -> Tensor:
        """The encoder's features of the video tokens; the teacher is not used."""
        found = self.features(noised.latents_BTCHW)
        expected = (*noised.velocity[VIDEO].shape[:3], self.features.width)
        if found.shape != expected:
            raise ValueError(
                f"the encoder gave features of shape {tuple(found.shape)} for video tokens that "
                f"need {expected}"
            )
        return found
