"""Which tokens of a clip are noised, and how much: one network, four uses.

| use            | history | future frames | actions to future frames |
|----------------|---------|---------------|--------------------------|
| world model    | clean   | noised        | clean                    |
| policy         | clean   | noised        | noised, same timestep    |
| inverse        | clean   | clean         | noised                   |
| video          | clean   | noised        | absent                   |

A frame has up to four distinct timesteps: t and s of the dual-timestep schedule for its video
tokens, its action's, and 1 for what is not known at all: such a token holds zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

from ..data.clips import Clips
from ..model.dit import Conditions, Frames
from ..model.modalities import patchify
from .path import interpolate, velocity
from .timesteps import TimestepDistribution, clean_prefix, dual_timesteps

WORLD, POLICY, INVERSE = 0, 1, 2
EncodeInstruction = Callable[[Tensor], Tensor]  # words (B, L) -> (B, D)
# Rows of `Conditions.timesteps_BTR`.
ROW_T, ROW_S, ROW_ACTION, ROW_UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True)
class Noising:
    """How training clips are noised.

    `uses` are the shares of world-model, policy and inverse-dynamics clips; `min_prefix` is 0 when
    a clip may be noised from its first frame on; proprioception is unknown in a share `state_drop`.
    """

    distribution: TimestepDistribution
    mask_ratio: float = 0.1
    uses: tuple[float, float, float] = (0.5, 0.4, 0.1)
    min_prefix: int = 1
    state_drop: float = 0.1


@dataclass(frozen=True)
class View:
    """What a network is shown."""

    frames: Frames
    conditions: Conditions


@dataclass(frozen=True)
class NoisedClips:
    """A student's and a teacher's view of the same clips and noise, and what is to be predicted.

    The masks say in which frames a modality counts in the loss. `clean_BT` are the history frames.
    """

    student: View
    teacher: View
    velocity_BTNC: Tensor
    velocity_state_BTP: Tensor | None
    velocity_action_BTA: Tensor | None
    video_BT: Tensor
    state_BT: Tensor
    action_BT: Tensor
    clean_BT: Tensor


def anchors(tokens_BTNC: Tensor, prefix_B: Tensor) -> Tensor:
    """The last clean frame before each frame, zeros before the first: (B, T, N, C)."""
    frames = torch.arange(tokens_BTNC.shape[1], device=tokens_BTNC.device)
    last = torch.minimum(frames[None] - 1, prefix_B[:, None] - 1)
    rows = torch.arange(len(prefix_B), device=tokens_BTNC.device)[:, None]
    return tokens_BTNC[rows, last.clamp(min=0)] * (last >= 0)[..., None, None]


def _draw_uses(
    noising: Noising, clips: Clips, future_BT: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """One use a clip (B,), and which future frames count in it (B, T).

    What is imitated ends before the first action that does not show how the task is done; a clip
    that has nothing to imitate serves the world model.
    """
    batch = len(future_BT)
    if clips.action_BTA is None or clips.imitate_BT is None:
        return torch.zeros(batch, dtype=torch.long, device=future_BT.device), future_BT
    shares = torch.tensor(noising.uses)
    use = torch.multinomial(shares, batch, replacement=True, generator=generator)
    use = use.to(future_BT.device)
    shown = (clips.imitate_BT | ~future_BT).long().cumprod(dim=1).bool() & future_BT
    use = torch.where((use == POLICY) & ~shown.any(dim=1), torch.zeros_like(use), use)
    return use, torch.where((use == POLICY)[:, None], shown, future_BT)


def noise_clips(
    clips: Clips,
    patch: int,
    noising: Noising,
    encode_instruction: EncodeInstruction | None = None,
    generator: torch.Generator | None = None,
) -> NoisedClips:
    """Draw uses, clean prefixes, timesteps, masks and noise for a batch of clips."""
    clean = patchify(clips.latents_BTCHW, patch)
    batch, count, tokens, _ = clean.shape
    device = clean.device
    prefix = clean_prefix(batch, count, generator, allow_none=noising.min_prefix == 0).to(device)
    future = torch.arange(count, device=device)[None] >= prefix[:, None]
    use, counts = _draw_uses(noising, clips, future, generator)
    shown_noised = future & (use != INVERSE)[:, None]
    acts_noised = future & (use != WORLD)[:, None]
    known = torch.ones_like(future)
    if clips.action_known_BT is not None:
        known = clips.action_known_BT > 0
    state_known = torch.rand(batch, 1, generator=generator).to(device).ge(noising.state_drop)

    times = dual_timesteps(
        batch, (count, tokens), noising.distribution, noising.mask_ratio, generator
    )
    takes_s = times.mask.to(device)
    video = clean, torch.randn(clean.shape, generator=generator).to(device)
    action = _with_noise(clips.action_BTA, generator)
    state = _with_noise(clips.state_BTP, generator)
    anchor = anchors(clean, prefix)
    instruction = _instructions(clips, encode_instruction, (use == POLICY)[:, None] & future)
    acted = None if action is None else (known & ~acts_noised).float()

    def view(t_B: Tensor, s_B: Tensor) -> View:
        """The clips with t and s on the frames and actions that are noised, 0 on the others."""
        t, s = t_B.to(device)[:, None], s_B.to(device)[:, None]
        t_frame, s_frame, t_action = t * shown_noised, s * shown_noised, t * acts_noised
        per_token = torch.where(takes_s, s_frame[..., None], t_frame[..., None])
        rows = [takes_s.long()]
        frames = Frames(interpolate(*video, per_token), anchor)
        if action is not None:
            rows.append(torch.where(known, ROW_ACTION, ROW_UNKNOWN)[..., None])
            noised = interpolate(*action, t_action) * known[..., None]
            frames = replace(frames, action_BTA=noised)
        if state is not None:
            rows.append(torch.where(state_known, ROW_T, ROW_UNKNOWN).expand(-1, count)[..., None])
            noised = interpolate(*state, t_frame) * state_known[..., None]
            frames = replace(frames, state_BTP=noised)
        distinct = torch.stack((t_frame, s_frame, t_action, torch.ones_like(t_frame)), dim=-1)
        conditions = Conditions(
            distinct,
            torch.cat(rows, dim=-1),
            action_BTA=clips.action_BTA,
            action_known_BT=acted,
            instruction_BTD=instruction,
        )
        return View(frames, conditions)

    return NoisedClips(
        student=view(times.t, times.s),
        teacher=view(times.minimum, times.minimum),
        velocity_BTNC=velocity(*video),
        velocity_state_BTP=None if state is None else velocity(*state),
        velocity_action_BTA=None if action is None else velocity(*action),
        video_BT=shown_noised & counts,
        state_BT=shown_noised & counts & state_known,
        action_BT=acts_noised & counts & known,
        clean_BT=~future,
    )


def _with_noise(
    value: Tensor | None, generator: torch.Generator | None
) -> tuple[Tensor, Tensor] | None:
    if value is None:
        return None
    return value, torch.randn(value.shape, generator=generator).to(value.device)


def _instructions(
    clips: Clips, encode: EncodeInstruction | None, given_BT: Tensor
) -> Tensor | None:
    """Instruction vectors (B, T, D) that led to each frame, zeros where a frame is not told."""
    if clips.words_BTL is None or encode is None:
        return None
    # An action follows from what the frame before it was told.
    words = torch.cat((clips.words_BTL[:, :1], clips.words_BTL[:, :-1]), dim=1)
    vectors = encode(rearrange(words, "b t l -> (b t) l"))
    return rearrange(vectors, "(b t) d -> b t d", b=len(given_BT)) * given_BT[..., None]
