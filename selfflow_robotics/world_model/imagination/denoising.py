"""How frames come out of noise: one after another, all together, or together with their actions.

All work on F futures of H frames that follow the histories in a cache, F / rows of them in a row
sharing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...flow.conditions import conditions_at
from ...flow.samplers import Step
from ...model.attention import Cache
from ...model.dit import Conditions, DiT, Frames


@dataclass(frozen=True)
class Imagined:
    """Frames without noise, and their features (F, H, M, D)."""

    frames: Frames
    features_FHMD: Tensor


def frame_after_frame(
    network: DiT,
    layer: int,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
) -> Imagined:
    """Each frame is denoised after the ones before it are done, as history of its own.

    Args:
        layer: the block whose output are the features.
        noise: video (F, H, N, C) and proprioception at the first step's time, actions clean.
        anchor_FNC: the last frame of history.
        steps: from noise to 0; a pass of the network each.
    """
    horizon = noise.video_BTNC.shape[1]
    made: list[Frames] = []
    features = []
    for f in range(horizon):
        anchor = anchor_FNC[:, None] if f == 0 else made[-1].video_BTNC
        frame = replace(_frame(noise, f), anchor_BTNC=anchor)
        made.append(denoise(network, frame, cache, steps))
        last = f == horizon - 1
        out = network(
            made[-1],
            _clean(network, made[-1]),
            cache=cache,
            feature_layers=(layer,),
            stop_after=layer if last else None,
            keep_cache=not last,
        )
        features.append(out.features[layer])
        if not last:
            cache = cache.append(out.cache)
    return Imagined(_joined(made), torch.cat(features, dim=1))


def all_together(
    network: DiT,
    layer: int,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
) -> Imagined:
    """As :func:`frame_after_frame`, but all frames are denoised in the same passes.

    On the way from noise the last frame of history is the anchor of all, as in training.
    """
    horizon = noise.video_BTNC.shape[1]
    anchor = anchor_FNC[:, None]
    noise = replace(noise, anchor_BTNC=anchor.expand(-1, horizon, -1, -1))
    made = denoise(network, noise, cache, steps)
    before = torch.cat((anchor, made.video_BTNC[:, :-1]), dim=1)
    out = network(
        replace(made, anchor_BTNC=before),
        _clean(network, made),
        cache=cache,
        feature_layers=(layer,),
        stop_after=layer,
        keep_cache=False,
    )
    return Imagined(made, out.features[layer])


def denoise(
    network: DiT,
    x: Frames,
    cache: Cache,
    steps: Sequence[Step],
    *,
    act: bool = False,
    instruction_FD: Tensor | None = None,
) -> Frames:
    """Euler steps; with `act` of the actions too, else they are known."""
    for now, then, size in steps:
        assert x.action_BTA is not None
        conditions = conditions_at(
            network.config,
            x.action_BTA,
            not act,
            now,
            action_time=now if act else 0.0,
            instruction_BD=instruction_FD,
            step=size,
        )
        out = network(x, conditions, cache=cache, keep_cache=False)
        step = then - now
        x = replace(x, video_BTNC=x.video_BTNC + step * out.video_BTNC)
        if x.state_BTP is not None:
            x = replace(x, state_BTP=x.state_BTP + step * out.state_BTP)
        if act:
            x = replace(x, action_BTA=x.action_BTA + step * out.action_BTA)
    return x


def _clean(network: DiT, frames: Frames) -> Conditions:
    assert frames.action_BTA is not None
    return conditions_at(network.config, frames.action_BTA, True, time=0.0)


def _frame(noise: Frames, f: int) -> Frames:
    one = slice(f, f + 1)
    action, state = noise.action_BTA, noise.state_BTP
    return Frames(
        noise.video_BTNC[:, one],
        action_BTA=None if action is None else action[:, one],
        state_BTP=None if state is None else state[:, one],
    )


def _joined(made: Sequence[Frames]) -> Frames:
    states = [frame.state_BTP for frame in made if frame.state_BTP is not None]
    return Frames(
        torch.cat([frame.video_BTNC for frame in made], dim=1),
        state_BTP=torch.cat(states, dim=1) if states else None,
    )
