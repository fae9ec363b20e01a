"""Which actions lead from frame to frame: the network's inverse-dynamics use.

Clean frames before and after, the action between them noised and denoised, as a share of training
clips has it (`flow/noising.py`); instructions are not told there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..flow.conditions import conditions_at
from ..flow.samplers import Step, steps_along
from ..model.attention import Cache
from ..model.dit import DiT
from ..model.modality import ACTION
from ..model.tokens import Frames
from .clean_frames import clean_pass, zeros_for
from .values import WorldModelConfig


def actions_between(
    network: DiT,
    config: WorldModelConfig,
    video_BSNC: Tensor,
    states_BSP: Tensor | None,
    steps: int,
    streams: Sequence[torch.Generator],
) -> Tensor:
    """The actions (B, S - 1, A), normalised, that led from each clean frame to the next.

    One after another: an action that was inferred is history for the next one.

    Raises:
        ValueError: they are not finite.
    """
    size = config.known_actions.size
    led_to = video_BSNC.new_zeros(*video_BSNC.shape[:2], size, dtype=torch.float32)
    for last in range(1, video_BSNC.shape[1]):
        seen, now = slice(max(0, last - config.history_len), last), slice(last, last + 1)
        before, after = (
            None if states_BSP is None else states_BSP[:, part] for part in (seen, now)
        )
        history = clean_pass(network, video_BSNC[:, seen], led_to[:, seen], before, 1)
        noise = torch.stack([torch.randn(1, size, generator=one) for one in streams])
        frame = Frames(video_BSNC[:, now], video_BSNC[:, last - 1 : last], noise.to(led_to), after)
        schedule = steps_along(steps, config.time_shift)
        led_to[:, last] = _denoised(network, frame, history.cache, schedule)
    if not led_to.isfinite().all():
        raise ValueError(
            "the actions inferred are not finite; the world model's weights, or the states given, "
            "are no sound ones"
        )
    return led_to[:, 1:]


def _denoised(network: DiT, after: Frames, cache: Cache, steps: Sequence[Step]) -> Tensor:
    """The action (B, A), normalised, that led to a clean frame."""
    action = after.action_BTA
    assert action is not None
    lacking = zeros_for(network.config, after)
    after = after.with_values(lacking)
    for now, then, size in steps:
        conditions = conditions_at(
            network.config, action, False, 0.0, action_time=now, unknown=lacking, step=size
        )
        asked = after.with_values({ACTION: action})
        out = network(asked, conditions, cache=cache, keep_cache=False)
        action = action + (then - now) * out.action_BTA
    return action[:, 0].clamp(-1, 1)
