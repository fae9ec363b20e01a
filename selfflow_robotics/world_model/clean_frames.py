"""One pass of the network over clean frames: history, goals, and what features are read from."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..flow.conditions import conditions_at
from ..model.dit import DiT, DiTConfig, Output
from ..model.tokens import Frames


def clean_pass(
    network: DiT,
    video_BTNC: Tensor,
    led_to_BTA: Tensor,
    states_BTP: Tensor | None,
    layer: int,
    features_alone: bool = False,
) -> Output:
    """Features of a block, and keys and values, of frames each of which has the last as its anchor.

    Args:
        led_to_BTA: normalised; that of the first frame is not used.
        states_BTP: normalised; None where proprioception is not known.
        layer: the block, counted from 1, whose output are the features.
        features_alone: leave after that block.
    """
    anchor = torch.cat((torch.zeros_like(video_BTNC[:, :1]), video_BTNC[:, :-1]), dim=1)
    known = torch.ones(video_BTNC.shape[:2], dtype=torch.bool, device=video_BTNC.device)
    known[:, 0] = False
    action = led_to_BTA * known[..., None]
    frames = Frames(video_BTNC, anchor, action, states_BTP)
    if states_BTP is not None:
        before = torch.cat((torch.zeros_like(states_BTP[:, :1]), states_BTP[:, :-1]), dim=1)
        frames = replace(frames, anchor_state_BTP=before)
    lacking = zeros_for(network.config, frames)
    found: Output = network(
        frames.with_values(lacking),
        conditions_at(network.config, action, known, time=0.0, unknown=lacking),
        feature_layers=(layer,),
        stop_after=layer if features_alone else None,
    )
    return found


def zeros_for(network: DiTConfig, frames: Frames) -> dict[str, Tensor]:
    """Values of the modalities that the network has and these frames have not."""
    batch, count = frames.video_BTNC.shape[:2]
    return {
        one.name: frames.video_BTNC.new_zeros(batch, count, *one.shape)
        for one in network.modalities
        if frames.of(one.name) is None
    }
