"""Frames that were seen, in the form of frames that were imagined."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ..images.fit import ImageFit, fitted_frames
from ..model.tokens import patchify
from .clean_frames import clean_pass
from .translation import Translation
from .values import Rollout


@torch.no_grad()
def seen(
    translation: Translation,
    feature_layer: int,
    frames: NDArray[np.uint8],
    actions_KSA: Tensor,
    states: NDArray[np.float32] | None,
    history: int,
) -> Rollout:
    """A rollout of one row, whose K futures are the truth: what its cost is worth on its own.

    Args:
        translation: of a world model.
        feature_layer: the block whose output are a frame's features.
        frames: (K, history + H * block, height, width, 3) uint8, where `block` is the steps that a
            frame of the world model spans; the oldest that do not fill one are left out.
        actions_KSA: (K, history - 1 + H * block, A) that led from each frame to the next, in the
            environment's units.
        states: (K, history + H * block, P) proprioception, None where there is none.
        history: frames that had been seen when the futures began.
    """
    config, block = translation.config, translation.tokenizer.temporal
    spare = (history - 1) % block
    frames, actions_KSA, history = frames[:, spare:], actions_KSA[:, spare:], history - spare
    known = (history - 1) // block + 1
    images = fitted_frames(frames, ImageFit(config.image_size, config.image_fit), most=10**6)
    count, total = images.shape[:2]
    latents = translation.latents(images)
    led_to = config.known_actions.step(block).normalize(actions_KSA)
    led_to = rearrange(led_to, "k (s n) a -> k s (n a)", n=block)
    led_to = torch.cat((torch.zeros_like(led_to[:, :1]), led_to), dim=1).to(latents)
    told = None if states is None else translation.states(states[:, spare:], count, total)
    given = None if told is None else told[:, ::block]
    video = patchify(latents, config.patch)
    layer, future = feature_layer, slice(known, None)
    features = None
    if not config.network.markov:
        out = clean_pass(translation.network, video, led_to, given, layer, features_alone=True)
        features = out.features[layer][None, :, future]
    ahead = rearrange(actions_KSA[:, history - 1 :], "k (h n) a -> 1 k h (n a)", n=block)
    return Rollout(
        latents_BKHCHW=latents[None, :, future],
        features_BKHMD=features,
        states_BKHP=None if given is None else given[None, :, future],
        actions_BKHA=ahead,
        last_BCHW=latents[:1, known - 1],
        passes=0,
    )
