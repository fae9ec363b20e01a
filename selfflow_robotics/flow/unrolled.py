"""Learns to imagine as planning does: frame after frame, through the network's own output.

Trained on true frames alone, a network is good one step ahead and lost after three: it never saw
what it makes. Here gradients flow through `Noising.ahead` frames that follow one another. What
changes counts for more than what rests, which a copy of the last frame has right already; and most
frames are drawn from pure noise, where planning starts (`PURE_NOISE`), the others as in flow
matching.
"""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.attention import Cache
from ..model.dit import Conditions, DiT
from ..model.modality import VIDEO
from ..model.tokens import Frames, patchify
from .noising import NoisedClips, Noising
from .objectives import Counts, FlowMatching, Losses

PURE_NOISE = 0.75
"""Share of frames that are next to pure noise."""

AT_REST = 0.2
"""What the error of a value that stays counts; one that changes by d counts this + d."""


class Unrolled(FlowMatching):
    """The squared error of frames imagined one after another, as a world model alone.

    Proprioception is not learnt here: the network's kinematics say it.
    """

    per_frame = True
    unrolls = True

    def __init__(
        self, noising: Noising, patch: int, weights: dict[str, float] | None = None
    ) -> None:
        times = replace(noising.distribution, high_noise_share=PURE_NOISE)
        noising = replace(
            noising, distribution=times, uses=(1.0, 0.0, 0.0), state_drop=0.0, given_state=True
        )
        super().__init__(noising, patch, weights)

    def counts(self, noised: NoisedClips) -> dict[str, Tensor]:
        """Frames that count, all of them those of video."""
        return {VIDEO: noised.counts_BT[VIDEO].sum()}

    def __call__(
        self,
        student: DiT,
        teacher: DiT,
        projector: nn.Module,
        noised: NoisedClips,
        counts: Counts | None = None,
    ) -> Losses:
        """Losses of a batch; neither teacher nor projector is used.

        Raises:
            ValueError: the network has proprioception but no kinematics.
        """
        if student.config.state_dim and student.kinematics is None:
            raise ValueError(
                "unrolled frames are given their proprioception: model.kinematics=true"
            )
        frames, told = noised.student.frames, noised.student.conditions
        clean = patchify(noised.latents_BTCHW, self.patch)
        count = clean.shape[1]
        first = count - self.noising.ahead
        cache, features = _history(student, frames, told, first)
        anchor, state = clean[:, first - 1 : first], _at(frames.state_BTP, first - 1)
        error = clean.new_zeros(len(clean), count)
        for f in range(first, count):
            frame = replace(_frames(frames, slice(f, f + 1)), anchor_BTNC=anchor)
            if state is not None and frame.action_BTA is not None:
                after = student.next_state(state, frame.action_BTA)
                frame = replace(frame, state_BTP=after, anchor_state_BTP=state)
                state = after
            then = _conditions(told, slice(f, f + 1))
            found = student(frame, then, cache=cache, keep_cache=False).video_BTNC
            anchor = frame.video_BTNC - _times(then, clean.shape[2]) * found.float()
            change = clean[:, f] - clean[:, f - 1]
            weighted = (AT_REST + change.abs()) * (anchor[:, 0] - clean[:, f]) ** 2
            error[:, f] = weighted.flatten(1).mean(dim=1)
            if cache is not None and f + 1 < count:
                done = replace(frame, video_BTNC=anchor)
                seen = replace(then, timesteps_BTR=torch.zeros_like(then.timesteps_BTR))
                cache = cache.append(student(done, seen, cache=cache).cache)
        total = (counts or self.counts(noised))[VIDEO].clamp(min=1)
        loss = (error * noised.counts_BT[VIDEO]).sum() / total
        losses = {VIDEO: loss}
        if features is not None:
            features = F.pad(features, (0, 0, 0, 0, 0, self.noising.ahead))
        return Losses(self._total(losses), losses, {}, features, noised.clean_BT)


def _history(
    network: DiT, frames: Frames, told: Conditions, first: int
) -> tuple[Cache | None, Tensor | None]:
    """Keys, values and features of the frames before `first`; None where none are attended to."""
    if network.config.markov:
        return None, None
    seen, layer = slice(0, first), network.config.layer(0.7)
    history = _frames(frames, seen)
    out = network(history, _conditions(told, seen), feature_layers=(layer,))
    return out.cache, out.features[layer]


def _frames(frames: Frames, which: slice) -> Frames:
    """Some of the frames."""
    values = {name: value[:, which] for name, value in frames.values()}
    anchors = {
        name: value[:, which]
        for name in ("anchor_BTNC", "anchor_state_BTP")
        if (value := getattr(frames, name)) is not None
    }
    return Frames(values[VIDEO], **anchors).with_values(values)


def _conditions(told: Conditions, which: slice) -> Conditions:
    """What some of the frames are told."""
    parts = {one.name: getattr(told, one.name) for one in fields(told)}
    return Conditions(
        **{
            name: value if value is None or name == "labels_B" else value[:, which]
            for name, value in parts.items()
        }
    )


def _times(told: Conditions, tokens: int) -> Tensor:
    """Of a frame's video tokens, (B, T, N, 1)."""
    assert told.row_BTM is not None
    return told.timesteps_BTR.gather(2, told.row_BTM[:, :, :tokens])[..., None]


def _at(value: Tensor | None, frame: int) -> Tensor | None:
    return None if value is None else value[:, frame : frame + 1]
