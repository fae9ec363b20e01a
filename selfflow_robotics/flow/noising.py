"""Which tokens of a clip are noised, and how much: one network, four uses.

| use            | history | future frames | actions to future frames |
|----------------|---------|---------------|--------------------------|
| world model    | clean   | noised        | clean                    |
| policy         | clean   | noised        | noised, same timestep    |
| inverse        | clean   | clean         | noised                   |
| video          | clean   | noised        | absent                   |

What is noised is so to a timestep t, some video tokens to another, s; each objective draws them so:

| objective         | t                   | s               | video tokens at s | the teacher sees |
|-------------------|---------------------|-----------------|-------------------|------------------|
| flow matching     | one a clip          |                 | none              |                  |
| diffusion forcing | one a frame         |                 | none              |                  |
| Self-Flow         | one a clip          | as t, unsorted  | `mask_ratio`      | min(t, s)        |
| SRA               | one a clip          | t - U[0, `gap`] | none              | min(t, s) = s    |
| REPA              | one a clip          |                 | none              |                  |
| unrolled          | one a frame         |                 | none              |                  |

A frame has up to four distinct timesteps: t and s for its video tokens, t again for its action
where that is noised, and 1 for what is not known at all: such a token holds zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from einops import rearrange
from torch import Tensor

from ..data.clips import Clips
from ..model.dit import Conditions
from ..model.modality import ACTION, PROPRIOCEPTION, VIDEO, Modality
from ..model.tokens import Frames, patchify
from .timesteps import TimestepDistribution, clean_prefix, draw_step, dual_timesteps

WORLD, POLICY, INVERSE = 0, 1, 2
EncodeInstruction = Callable[[Tensor], Tensor]  # words (B, L) -> (B, D)
# Rows of `Conditions.timesteps_BTR`.
ROW_T, ROW_S, ROW_ACTION, ROW_UNKNOWN = 0, 1, 2, 3


@dataclass(frozen=True)
class Noising:
    """How training clips are noised.

    `uses` are the shares of world-model, policy and inverse-dynamics clips; `min_prefix` is 0 when
    a clip may be noised from its first frame on; proprioception is unknown in a share `state_drop`
    of clips, text in a share `text_drop` (the usual one of classifier-free guidance).
    With `per_frame` every frame draws its timesteps for itself (diffusion forcing, arXiv
    2407.01392); for `gap` see :func:`dual_timesteps`. A share `shortcut` of the clips takes a step
    of some size, all of a clip from one timestep; see the module `shortcut`. Modalities that the
    network declares itself stand in `more`; each is noised at its own ratio where video is.
    With `ahead`, just so many last frames of a clip are noised. With `given_state`, proprioception
    stays clean in world-model clips: kinematics say it (`model/kinematics.py`). With `alone`, for
    networks whose frames see the last one alone, all frames but the first are noised, each after
    the true one before it.
    """

    distribution: TimestepDistribution
    mask_ratio: float = 0.1
    uses: tuple[float, float, float] = (0.5, 0.4, 0.1)
    min_prefix: int = 1
    state_drop: float = 0.1
    text_drop: float = 0.1
    per_frame: bool = False
    gap: float = 0.0
    shortcut: float = 0.0
    more: tuple[Modality, ...] = ()
    ahead: int = 0
    given_state: bool = False
    alone: bool = False

    def __post_init__(self) -> None:
        if not sum(self.uses) > 0:
            raise ValueError(
                "no clip is of the world model's, the policy's or the inverse use; give a share "
                "above 0 to one of them"
            )


@dataclass(frozen=True)
class View:
    """What a network is shown."""

    frames: Frames
    conditions: Conditions


@dataclass(frozen=True)
class NoisedClips:
    """A student's and a teacher's view of the same clips and noise, and what is to be predicted.

    `velocity`, noise - data (rectified flow, arXiv 2209.03003), is to be predicted, by modality in
    the order of their losses, and `counts_BT` says in which frames each counts. `clean_BT` are the
    history frames, `told_BT` those that hear the instruction that led to them: see :meth:`telling`.
    `steps` are the sizes of the clips' steps, 0 where it takes none, and nothing if none may.
    """

    student: View
    teacher: View
    latents_BTCHW: Tensor
    velocity: Mapping[str, Tensor]
    counts_BT: Mapping[str, Tensor]
    clean_BT: Tensor
    told_BT: Tensor
    words_BTL: Tensor | None = None
    steps: tuple[float, ...] = ()

    def telling(self, view: View, encode: EncodeInstruction | None) -> View:
        """A view with the instructions, encoded, of the frames that are told theirs."""
        if self.words_BTL is None or encode is None:
            return view
        # An action follows from what the frame before it was told.
        words = torch.cat((self.words_BTL[:, :1], self.words_BTL[:, :-1]), dim=1)
        vectors = encode(rearrange(words, "b t l -> (b t) l"))
        told = rearrange(vectors, "(b t) d -> b t d", b=len(words)) * self.told_BT[..., None]
        return replace(view, conditions=replace(view.conditions, instruction_BTD=told))


class _Draws(NamedTuple):
    """The random numbers of clips; each clip's come from a stream of its own."""

    step_B: Tensor
    prefix_B: Tensor
    use_B: Tensor
    state_known_B1: Tensor
    t_BT: Tensor
    s_BT: Tensor
    text_known_B1: Tensor
    noise: dict[str, Tensor]  # by modality, shaped as its values
    takes_s: dict[str, Tensor]  # (B, T, tokens), of the modalities that have a second timestep


def _draw(
    noising: Noising, clips: Clips, shape: torch.Size, streams: Sequence[torch.Generator]
) -> _Draws:
    """Random numbers for clips whose tokens have this shape, (B, T, N, C)."""
    batch, count, tokens, _ = shape
    if len(streams) != batch:
        raise ValueError(f"{len(streams)} random streams for {batch} clips; give one each")
    shares = torch.tensor(noising.uses)
    action_size, state_size = (
        0 if value is None else value.shape[-1] for value in (clips.action_BTA, clips.state_BTP)
    )
    ratios = {one.name: one.mask_ratio for one in noising.more}
    if noising.ahead >= count:
        raise ValueError(
            f"clips of {count} frames have no {noising.ahead} frames after a first one; use longer "
            "clips (trainer.frames) or a smaller objective.ahead"
        )

    # To the schedule, a sample is what has timesteps of its own: a clip, or one of its frames.
    apart = noising.per_frame or noising.alone
    samples, each = (count, (tokens,)) if apart else (1, (count, tokens))

    def row(stream: torch.Generator) -> _Draws:
        times = dual_timesteps(
            samples, each, noising.distribution, noising.mask_ratio, stream, noising.gap
        )
        if noising.ahead:
            prefix = torch.tensor([count - noising.ahead], device="cpu")
        elif noising.alone:
            prefix = torch.ones(1, dtype=torch.long, device="cpu")
        else:
            prefix = clean_prefix(1, count, stream, allow_none=noising.min_prefix == 0)
        drawn = _Draws(
            torch.zeros(1, device="cpu"),
            prefix,
            torch.multinomial(shares, 1, generator=stream),
            torch.rand(1, 1, generator=stream).ge(noising.state_drop),
            times.t.expand(1, count),
            times.s.expand(1, count),
            noise={
                VIDEO: torch.randn(1, *shape[1:], generator=stream),
                ACTION: torch.randn(1, count, action_size, generator=stream),
                PROPRIOCEPTION: torch.randn(1, count, state_size, generator=stream),
            },
            text_known_B1=torch.rand(1, 1, generator=stream).ge(noising.text_drop),
            takes_s={VIDEO: times.mask.view(1, count, tokens)},
        )
        if noising.shortcut:
            step, start = draw_step(noising.shortcut, noising.distribution.shift, stream)
            if step:
                at = torch.full_like(drawn.t_BT, start)
                by = torch.full((1,), step, device="cpu")
                drawn = drawn._replace(t_BT=at, s_BT=at, step_B=by)
        for name, value in clips.more.items():
            drawn.noise[name] = torch.randn(1, *value.shape[1:], generator=stream)
            share = ratios.get(name, 0.0) if noising.mask_ratio else 0.0
            draw = torch.rand(1, *value.shape[1:3], generator=stream)
            drawn.takes_s[name] = draw < share
        return drawn

    device = clips.latents_BTCHW.device

    def joined(parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], dict):
            return {name: joined([part[name] for part in parts]) for name in parts[0]}
        return torch.cat(list(parts)).to(device)

    # Which clips take a step decides what is computed, so it stays where Python can see it.
    step, *drawn = zip(*map(row, streams), strict=True)
    return _Draws(torch.cat(step), *map(joined, drawn))


def anchors(values: Tensor, prefix_B: Tensor) -> Tensor:
    """Values (B, T, ...) of the last clean frame before each frame, zeros before the first."""
    frames = torch.arange(values.shape[1], device=values.device)
    last = torch.minimum(frames[None] - 1, prefix_B[:, None] - 1)
    rows = torch.arange(len(prefix_B), device=values.device)[:, None]
    there = (last >= 0).view(*last.shape, *[1] * (values.dim() - 2))
    return values[rows, last.clamp(min=0)] * there


def _uses(use_B: Tensor, clips: Clips, future_BT: Tensor, alone: bool) -> tuple[Tensor, Tensor]:
    """The use of each clip (B,), and which future frames count in it (B, T).

    What is imitated ends before the first action that does not show how the task is done, but where
    frames are `alone`; a clip that has nothing to imitate serves the world model.
    """
    if clips.action_BTA is None or clips.imitate_BT is None:
        return torch.zeros_like(use_B), future_BT
    shown = clips.imitate_BT | ~future_BT
    shown = future_BT & (shown if alone else shown.long().cumprod(dim=1).bool())
    use = torch.where((use_B == POLICY) & ~shown.any(dim=1), torch.zeros_like(use_B), use_B)
    return use, torch.where((use == POLICY)[:, None], shown, future_BT)


def _between(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t on the straight path from data (t=0) to noise (t=1); t has the leading axes of both."""
    t = t.reshape(t.shape + (1,) * (clean.ndim - t.ndim))
    return (1 - t) * clean + t * noise


def noise_clips(
    clips: Clips, patch: int, noising: Noising, streams: Sequence[torch.Generator]
) -> NoisedClips:
    """Draw uses, clean prefixes, timesteps, masks and noise for a batch of clips.

    Args:
        streams: a CPU generator a clip, so that no clip's noise depends on what it comes with.
    """
    declared = [one.name for one in noising.more]
    if strange := clips.more.keys() - set(declared):
        raise ValueError(f"clips hold {min(strange)}, which the noising does not declare in `more`")
    # The network's tokens come in the order of their declarations, and so must their rows.
    clips = replace(clips, more={n: clips.more[n] for n in declared if n in clips.more})
    clean = patchify(clips.latents_BTCHW, patch)
    count = clean.shape[1]
    drawn = _draw(noising, clips, clean.shape, streams)
    prefix = drawn.prefix_B
    future = torch.arange(count, device=clean.device)[None] >= prefix[:, None]
    use, counts = _uses(drawn.use_B, clips, future, noising.alone)
    shown_noised = future & (use != INVERSE)[:, None]
    acts_noised = future & (use != WORLD)[:, None]
    known = torch.ones_like(future)
    if clips.action_known_BT is not None:
        known = clips.action_known_BT > 0
    state_known = drawn.state_known_B1

    given = {VIDEO: clean, **clips.modalities}
    before = torch.full_like(prefix, count) if noising.alone else prefix
    anchor = anchors(clean, before)
    anchor_state = None
    if clips.state_BTP is not None:
        anchor_state = anchors(clips.state_BTP * state_known[..., None], before)
    told = (use == WORLD)[:, None] & noising.given_state  # of proprioception
    acted = None if clips.action_BTA is None else (known & ~acts_noised).float()
    text = clips.text_BTE
    if text is not None:
        text = text * drawn.text_known_B1[..., None]

    def view(t: Tensor, s: Tensor) -> View:
        """The clips with t and s on the frames and actions that are noised, 0 on the others."""
        t_frame, s_frame, t_action = t * shown_noised, s * shown_noised, t * acts_noised
        values, rows = {}, []
        frames = Frames(clean, anchor, anchor_state_BTP=anchor_state)
        frames = frames.with_values(given)  # in the order of their tokens
        for name, value in frames.values():
            noise = drawn.noise[name]
            if name == ACTION:
                values[name] = _between(value, noise, t_action) * known[..., None]
                rows.append(torch.where(known, ROW_ACTION, ROW_UNKNOWN)[..., None])
            elif name == PROPRIOCEPTION:
                values[name] = _between(value, noise, t_frame * ~told) * state_known[..., None]
                # Where it is told, actions are clean, and theirs is a row of time 0.
                row = torch.where(told, ROW_ACTION, ROW_T)
                row = torch.where(state_known, row, ROW_UNKNOWN)
                rows.append(row.expand(-1, count)[..., None])
            else:
                takes_s = drawn.takes_s[name]
                per_token = torch.where(takes_s, s_frame[..., None], t_frame[..., None])
                values[name] = _between(value, noise, per_token)
                rows.append(takes_s.long())
        distinct = torch.stack((t_frame, s_frame, t_action, torch.ones_like(t_frame)), dim=-1)
        conditions = Conditions(
            distinct,
            torch.cat(rows, dim=-1),
            action_BTA=clips.action_BTA,
            action_known_BT=acted,
            text_BTE=text,
        )
        return View(frames.with_values(values), conditions)

    student = view(drawn.t_BT, drawn.s_BT)
    if noising.shortcut:
        steps = drawn.step_B.to(clean.device)[:, None] * future
        student = replace(student, conditions=replace(student.conditions, step_BT=steps))
    cleaner = torch.minimum(drawn.t_BT, drawn.s_BT)
    shown = shown_noised & counts
    own = {PROPRIOCEPTION: shown & state_known & ~told, ACTION: acts_noised & counts & known}
    return NoisedClips(
        student=student,
        teacher=view(cleaner, cleaner),
        latents_BTCHW=clips.latents_BTCHW,
        velocity={name: drawn.noise[name] - value for name, value in given.items()},
        counts_BT={name: own.get(name, shown) for name in given},
        clean_BT=~future,
        told_BT=(use == POLICY)[:, None] & future,
        words_BTL=clips.words_BTL,
        steps=tuple(drawn.step_B.tolist()) if noising.shortcut else (),
    )
