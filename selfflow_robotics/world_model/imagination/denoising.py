"""How frames come out of noise: one after another, all together, or together with their actions.

All work on F futures of H frames that follow the histories in a cache, F / rows of them in a row
sharing one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from einops import repeat
from torch import Tensor

from ...flow.conditions import conditions_at
from ...flow.samplers import Step
from ...model.attention import Cache
from ...model.dit import Conditions, DiT
from ...model.modality import ACTION, PROPRIOCEPTION, VIDEO
from ...model.tokens import Frames


@dataclass(frozen=True)
class Imagined:
    """Frames without noise, and their features (F, H, M, D); None where nobody reads them."""

    frames: Frames
    features_FHMD: Tensor | None


def frame_after_frame(
    network: DiT,
    layer: int,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
    state_FP: Tensor | None = None,
) -> Imagined:
    """Each frame is denoised after the ones before it are done, as history of its own.

    Frames that do not attend to one another (`DiTConfig.markov`) are done then; others go through
    the network once more, clean.

    Args:
        layer: the block whose output are the features.
        noise: video (F, H, N, C) and proprioception at the first step's time, actions clean.
        anchor_FNC: the last frame of history.
        steps: from noise to 0; a pass of the network each.
        state_FP: proprioception in the last frame of history, from which a network with kinematics
            says that of the others.
    """
    noise = with_kinematics(network, noise, state_FP)
    horizon = noise.video_BTNC.shape[1]
    made: list[Frames] = []
    features = []
    for f in range(horizon):
        anchor = anchor_FNC[:, None] if f == 0 else made[-1].video_BTNC
        frame = replace(_frame(noise, f), anchor_BTNC=anchor)
        made.append(denoise(network, frame, cache, steps))
        if network.config.markov:
            continue
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
    return Imagined(_joined(made), torch.cat(features, dim=1) if features else None)


def all_together(
    network: DiT,
    layer: int,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
    state_FP: Tensor | None = None,
) -> Imagined:
    """As :func:`frame_after_frame`, but all frames are denoised in the same passes.

    On the way from noise the last frame of history is the anchor of all, as in training.
    """
    horizon = noise.video_BTNC.shape[1]
    anchor = anchor_FNC[:, None]
    noise = with_kinematics(network, noise, state_FP)
    first = noise.anchor_state_BTP
    made = denoise(
        network,
        replace(
            noise,
            anchor_BTNC=anchor.expand(-1, horizon, -1, -1),
            anchor_state_BTP=None if first is None else first[:, :1].expand_as(first),
        ),
        cache,
        steps,
    )
    before = torch.cat((anchor, made.video_BTNC[:, :-1]), dim=1)
    out = network(
        replace(made, anchor_BTNC=before, anchor_state_BTP=first),
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
    """Euler steps; with `act` of the actions too, else they are known.

    Then proprioception is, too, where the network has kinematics.
    """
    known = () if act else (ACTION, PROPRIOCEPTION) if network.kinematics else (ACTION,)
    for now, then, size in steps:
        assert x.action_BTA is not None
        conditions = conditions_at(
            network.config,
            x.action_BTA,
            not act,
            now,
            action_time=now if act else 0.0,
            clean=known,
            instruction_BD=instruction_FD,
            step=size,
        )
        out = network(x, conditions, cache=cache, keep_cache=False)
        x = x.with_values(
            {
                name: value + (then - now) * change
                for name, value in x.values(*known)
                if (change := out.of(name)) is not None
            }
        )
    return x


def imagined(
    network: DiT,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
    state_FP: Tensor | None,
) -> Frames:
    """Frames that actions lead to, where nobody reads features: in the same passes if they may."""
    if network.config.markov:
        return frame_after_frame(network, 0, noise, anchor_FNC, cache, steps, state_FP).frames
    horizon = noise.video_BTNC.shape[1]
    noise = replace(noise, anchor_BTNC=repeat(anchor_FNC, "f n c -> f h n c", h=horizon))
    return denoise(network, with_kinematics(network, noise, state_FP), cache, steps)


def jointly(
    network: DiT,
    noise: Frames,
    anchor_FNC: Tensor,
    cache: Cache,
    steps: Sequence[Step],
    instruction_FD: Tensor,
    state_FP: Tensor | None = None,
) -> Frames:
    """Actions denoised together with the frames that they lead to, all in the same passes.

    Frames that do not attend to one another come one after another, as what they see does.

    Args:
        noise: of every modality, at the first step's time.
        anchor_FNC: the last frame of history, `state_FP` proprioception in it.
    """
    horizon = noise.video_BTNC.shape[1]
    count = 1 if network.config.markov else horizon
    made: list[Frames] = []
    for first in range(0, horizon, count):
        values = {name: value[:, first : first + count] for name, value in noise.values()}
        seen = Frames(
            values[VIDEO],
            repeat(anchor_FNC, "f n c -> f h n c", h=count),
            anchor_state_BTP=_each_frame(state_FP, count),
        )
        seen = seen.with_values(values)
        made.append(denoise(network, seen, cache, steps, act=True, instruction_FD=instruction_FD))
        anchor_FNC, states = made[-1].video_BTNC[:, -1], made[-1].state_BTP
        state_FP = None if states is None else states[:, -1]
    return _joined(made)


def with_kinematics(network: DiT, frames: Frames, state_FP: Tensor | None) -> Frames:
    """Frames (F, H, ...) with the proprioception that their actions lead to, one after another.

    As they are where the network has no kinematics.
    """
    if network.kinematics is None:
        return frames
    assert frames.action_BTA is not None and state_FP is not None
    states = [state_FP]
    for action in frames.action_BTA.unbind(1):
        states.append(network.next_state(states[-1], action))
    before, after = torch.stack(states[:-1], dim=1), torch.stack(states[1:], dim=1)
    return replace(frames, state_BTP=after, anchor_state_BTP=before)


def _clean(network: DiT, frames: Frames) -> Conditions:
    assert frames.action_BTA is not None
    return conditions_at(network.config, frames.action_BTA, True, time=0.0)


def _frame(noise: Frames, f: int) -> Frames:
    one = {name: value[:, f : f + 1] for name, value in noise.values()}
    before = noise.anchor_state_BTP
    if before is not None:
        before = before[:, f : f + 1]
    return Frames(one[VIDEO], anchor_state_BTP=before).with_values(one)


def _each_frame(state_FP: Tensor | None, horizon: int) -> Tensor | None:
    return None if state_FP is None else repeat(state_FP, "f p -> f h p", h=horizon)


def _joined(made: Sequence[Frames]) -> Frames:
    frames = [dict(frame.values()) for frame in made]
    joined = {name: torch.cat([one[name] for one in frames], dim=1) for name in frames[0]}
    return Frames(joined[VIDEO]).with_values(joined)
