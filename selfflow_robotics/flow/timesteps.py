"""Which noise levels a training step sees: p(t), the dual-timestep schedule, the clean prefix.

Self-Flow (arXiv 2603.06507, eq. 4 and appendix A). t=0 is data and t=1 is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..model.modality import Times

SRA_GAP = 0.2
"""How much cleaner SRA's teacher sees a clip, at most (arXiv 2505.02831, its code's --t-max)."""

HIGH_NOISE = (0.95, 1.0)

STEP_SIZES = (1.0, 0.5, 0.25, 0.125)
"""Steps a shortcut model is told of, as shares of the schedule that sampling walks."""


def shift_time(t: Tensor, alpha: float) -> Tensor:
    """s(alpha, t) = alpha t / (1 + (alpha - 1) t): keeps 0 and 1, alpha above 1 moves to noise."""
    return alpha * t / (1 + (alpha - 1) * t)


def _device(generator: torch.Generator | None) -> torch.device:
    return torch.device("cpu") if generator is None else generator.device


@dataclass(frozen=True)
class TimestepDistribution(Times):
    """p(t) over [0, 1], to draw from.

    Example:
        >>> TimestepDistribution("logit-normal", shift=2.95).sample((8,)).shape
        torch.Size([8])
    """

    def sample(self, shape: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
        """Independent draws in [0, 1], float32, of that shape, on the generator's device."""
        device = _device(generator)
        size = tuple(shape)
        if self.kind == "uniform":
            t = torch.rand(size, generator=generator, device=device)
        else:
            t = torch.randn(size, generator=generator, device=device).sigmoid()
        t = shift_time(t, self.shift)
        if self.high_noise_share:
            low, high = HIGH_NOISE
            noisy = low + (high - low) * torch.rand(size, generator=generator, device=device)
            chosen = torch.rand(size, generator=generator, device=device) < self.high_noise_share
            t = torch.where(chosen, noisy, t)
        return t


def draw_step(
    share: float, shift: float, generator: torch.Generator | None = None
) -> tuple[float, float]:
    """The size of a step, 0 in all but a share of the draws, and the time at which it starts.

    Sizes are equally likely, and so are the times at which a sampler takes steps of that size.

    Args:
        share: of draws with a step, in [0, 1].
        shift: of the sampler's schedule, see `shift_time`.
    """
    chosen, size, start = torch.rand(3, generator=generator, device="cpu").tolist()
    if chosen >= share:
        return 0.0, 0.0
    step = STEP_SIZES[int(size * len(STEP_SIZES))]
    position = (1 + int(start / step)) * step
    return step, float(shift_time(torch.tensor(position, device="cpu"), shift))


class DualTimesteps(NamedTuple):
    """The two noise levels of each sample and which tokens take the second."""

    t: Tensor
    """(B,), of most tokens."""
    s: Tensor
    """(B,), independent of t and not sorted against it; a little below t with a gap."""
    mask: Tensor
    """(B, ...) boolean, True where a token takes s."""


def dual_timesteps(
    batch: int,
    tokens: Sequence[int],
    distribution: TimestepDistribution,
    mask_ratio: float,
    generator: torch.Generator | None = None,
    gap: float = 0.0,
) -> DualTimesteps:
    """Draw t, s ~ p(t) a sample and let each token take s with probability `mask_ratio`.

    Sorting t and s, or a noise level for each token, would change the marginal p(t) of a token;
    both train worse.

    Args:
        tokens: shape of a sample's tokens, such as (T, M).
        mask_ratio: in [0, 0.5]; 0 is plain flow matching with one timestep a sample.
        gap: if above 0, s is not drawn from p(t) but is max(t - U[0, gap], 0), as SRA's teacher
            sees it (arXiv 2505.02831).
    """
    if not 0 <= mask_ratio <= 0.5:
        raise ValueError(f"the mask ratio is {mask_ratio}; it must be in [0, 0.5]")
    if not 0 <= gap <= 1:
        raise ValueError(f"the gap between timesteps is {gap}; it must be in [0, 1]")
    t = distribution.sample((batch,), generator)
    if gap:
        below = gap * torch.rand((batch,), generator=generator, device=_device(generator))
        s = (t - below).clamp(min=0)
    else:
        s = distribution.sample((batch,), generator)
    draw = torch.rand((batch, *tokens), generator=generator, device=_device(generator))
    return DualTimesteps(t, s, draw < mask_ratio)


def clean_prefix(
    batch: int,
    frames: int,
    generator: torch.Generator | None = None,
    allow_none: bool = False,
) -> Tensor:
    """How many leading frames of each clip stay clean, (B,) int64; at least one is always noised.

    Args:
        frames: frames of a clip; 2 or more, or 1 or more with `allow_none`.
        allow_none: allow 0 clean frames (plain pretraining), so lengths start at 0 and not at 1.
    """
    lengths = range(0 if allow_none else 1, frames)
    if not lengths:
        raise ValueError(
            f"a clip of {frames} frame{'s' * (frames != 1)} has no room for a clean frame "
            "before a noised one; use longer clips"
        )
    frequency = torch.ones(len(lengths), device=_device(generator))
    drawn = torch.multinomial(frequency, batch, replacement=True, generator=generator)
    return drawn + lengths.start
