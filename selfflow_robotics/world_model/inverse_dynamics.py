"""Which actions lead from frame to frame: the network's inverse-dynamics use.

Clean frames before and after, the action between them noised and denoised, as a share of training
clips has it (`flow/noising.py`); instructions are not told there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ..flow.conditions import conditions_at
from ..flow.samplers import steps_along
from ..images.fit import fitted_frames
from ..model.modality import ACTION
from ..model.tokens import Frames, patchify
from ..streams import streams_of_rows
from .clean_frames import zeros_for

if TYPE_CHECKING:
    from .values import Context
    from .world_model import WorldModel


def infer_actions(
    world_model: WorldModel,
    frames: NDArray[np.uint8] | Tensor,
    states: NDArray[np.float32] | Tensor | None = None,
    steps: int = 4,
    generator: Sequence[torch.Generator] | None = None,
) -> Tensor:
    """The actions that led from each frame to the next, by `WorldModel.infer_actions(frames, ...)`.

    One after another: an action that was inferred is history for the next one. `steps` passes of
    the network an action, and one for the history.

    Args:
        frames: (B, S, height, width, 3) uint8, S from 2 on; where a latent frame spans several
            steps, one frame and whole blocks of so many.
        states: (B, S, P) proprioception, or None where it is not known.
        steps: Euler steps from noise.
        generator: a random stream a row; None fixes them.

    Returns:
        (B, S - 1, A) in the environment's units.

    Raises:
        ValueError: too few frames, a shape that does not fit, or actions that are not finite.
    """
    block, spec = world_model.action_block, world_model.action_spec
    images = fitted_frames(frames, world_model.image_fit, most=10**6)
    batch, count = images.shape[:2]
    if count < 1 + block or (count - 1) % block:
        raise ValueError(f"{count} frames; give at least {1 + block}, and {block} for each more")
    latents = world_model._encode(images)
    state = world_model._state_tokens(states, batch, count)
    told = None if state is None or states is None else state[:, ::block]
    led_to = torch.zeros(batch, latents.shape[1], spec.size, device=world_model.device)
    streams = streams_of_rows(generator, batch)
    for last in range(1, latents.shape[1]):
        seen = slice(max(0, last - world_model.config.history_len), last)
        context = world_model.observe_latents(
            latents[:, seen], led_to[:, seen], None if told is None else told[:, seen]
        )
        noise = torch.stack([torch.randn(1, spec.size, generator=one) for one in streams])
        after = Frames(
            patchify(latents[:, last : last + 1], world_model.config.patch),
            context.anchor_BNC[:, None],
            noise.to(led_to),
            None if told is None else told[:, last : last + 1],
        )
        led_to[:, last] = _denoised(world_model, after, context, steps)
    if not led_to.isfinite().all():
        raise ValueError(
            "the actions inferred are not finite; the world model's weights, or the states given, "
            "are no sound ones"
        )
    actions = world_model._in_units(led_to[:, 1:])
    return rearrange(actions, "b s (n a) -> b (s n) a", n=block)


def _denoised(world_model: WorldModel, after: Frames, context: Context, steps: int) -> Tensor:
    """The action (B, A), normalised, that led to a clean frame."""
    network, action = world_model.network, after.action_BTA
    assert action is not None
    lacking = zeros_for(network.config, after)
    after = after.with_values(lacking)
    for now, then, size in steps_along(steps, world_model.config.time_shift):
        conditions = conditions_at(
            network.config, action, False, 0.0, action_time=now, unknown=lacking, step=size
        )
        asked = after.with_values({ACTION: action})
        out = network(asked, conditions, cache=context.cache, keep_cache=False)
        action = action + (then - now) * out.action_BTA
    return action[:, 0].clamp(-1, 1)
