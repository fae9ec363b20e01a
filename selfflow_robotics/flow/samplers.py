"""The way back from noise: Euler and Heun for the flow, and the released model's SDE.

t=1 is noise and t=0 is data, so a sampler walks down. Shapes: x (B, ...), t (B,).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from selfflow_robotics.model.released import ReleasedModel

from .timesteps import shift_time

VelocityFn = Callable[[Tensor, Tensor], Tensor]
"""velocity(x, t), shaped as x, for x (B, ...) at times t (B,)."""

LAST_STEP = 0.04
"""The released sampler covers this last stretch of time without noise."""

_MOST_STEPS = 10_000


def schedule(num_steps: int, shift: float = 1.0) -> Tensor:
    """Times (num_steps + 1,) from 1 down to 0; `shift` above 1 spends more of them near noise."""
    if not 1 <= num_steps <= _MOST_STEPS:
        raise ValueError(f"num_steps is {num_steps}; sample in 1 to {_MOST_STEPS} steps")
    return shift_time(torch.linspace(1, 0, num_steps + 1, dtype=torch.float64), shift).float()


class Step(NamedTuple):
    """From one time to an earlier one; `size` is the share of the schedule that lies between."""

    now: float
    then: float
    size: float


def steps_along(num_steps: int, shift: float = 1.0, start: float = 1.0) -> list[Step]:
    """The steps of `schedule`, whose size is 1 / num_steps; all times shrink with a lower start."""
    times = start * schedule(num_steps, shift)
    places = shift_time(times.double(), 1 / shift)
    pairs = zip(pairwise(times.tolist()), pairwise(places.tolist()), strict=True)
    return [Step(now, then, first - last) for (now, then), (first, last) in pairs]


def euler(
    velocity: VelocityFn,
    x: Tensor,
    timesteps: Tensor | None = None,
    *,
    num_steps: int = 50,
    shift: float = 1.0,
) -> Tensor:
    """Follow the velocity along `timesteps`, one evaluation a step (first order).

    Args:
        x: (B, ...), noise where `timesteps` start at 1.
        timesteps: (S + 1,) falling times; `schedule(num_steps, shift)` without.

    Returns:
        x at the last of the times, shaped as `x`.

    Example:
        >>> euler(lambda x, t: x, torch.ones(2, 3), num_steps=1)
        tensor([[0., 0., 0.],
                [0., 0., 0.]])
    """
    for now, then in _steps(timesteps, num_steps, shift):
        x = x + (then - now) * velocity(x, x.new_full(x.shape[:1], now))
    return x


def heun(
    velocity: VelocityFn,
    x: Tensor,
    timesteps: Tensor | None = None,
    *,
    num_steps: int = 25,
    shift: float = 1.0,
) -> Tensor:
    """As `euler` with the mean of the velocities at both ends of a step: two evaluations a step,
    second order.
    """
    for now, then in _steps(timesteps, num_steps, shift):
        first = velocity(x, x.new_full(x.shape[:1], now))
        ahead = x + (then - now) * first
        second = velocity(ahead, x.new_full(x.shape[:1], then))
        x = x + (then - now) * 0.5 * (first + second)
    return x


def _steps(timesteps: Tensor | None, num_steps: int, shift: float) -> list[tuple[float, float]]:
    times = schedule(num_steps, shift) if timesteps is None else timesteps
    pairs: list[tuple[float, float]] = list(pairwise(times.flatten().tolist()))
    if times.ndim != 1 or not pairs or any(then >= now for now, then in pairs):
        raise ValueError("timesteps must be one falling row of at least two times, such as 1 to 0")
    return pairs


@torch.no_grad()
def sample_released(
    model: ReleasedModel,
    noise: Tensor,
    labels: Tensor,
    *,
    num_steps: int = 250,
    cfg_scale: float = 1.0,
    guidance_interval: tuple[float, float] = (0.0, 0.7),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Samples as the released code draws them: Euler-Maruyama on the reverse SDE, then a mean step.

    With u = 1 - t rising from 0 to 0.96 in `num_steps - 1` steps of length d, and w = data - noise
    predicted by the model: x <- x + ((1 + u) w - x) d + sqrt(2 (1 - u) d) z, z standard normal; the
    last stretch to u = 1 goes without z. One `randn` a noisy step is taken from `generator`
    (the global one without, as the released code does), so the same seed gives the same samples.

    Args:
        model: from `released.load`.
        noise: (B, N, C).
        labels: (B,) class numbers.
        num_steps: all steps, the mean step included; at least 2.
        cfg_scale: guidance from the null class, the model's last; 1 is none. With guidance each
            step draws random numbers for 2B rows, of which the last B are used.
        guidance_interval: lowest and highest t at which guidance acts; elsewhere the velocity is
            the conditional one.

    Returns:
        (B, N, C).
    """
    if num_steps < 2:
        raise ValueError(f"num_steps is {num_steps}; the released sampler needs at least 2")
    batch = noise.shape[0]
    low, high = guidance_interval
    guided = cfg_scale != 1.0
    null = torch.full_like(labels, model.config.num_classes - 1) if guided else labels

    def drift(x: Tensor, u: float) -> Tensor:
        t = 1 - u
        velocity: Tensor
        times = x.new_full((batch,), t)
        if guided and low <= t <= high:
            both = model(x.repeat(2, 1, 1), times.repeat(2), torch.cat((null, labels)))
            without, given = both.chunk(2)
            velocity = without + cfg_scale * (given - without)
        else:
            velocity = model(x, times, labels)
        return -(1 + u) * velocity - x

    rows = (2 if guided else 1) * batch
    times = torch.linspace(0, 1 - LAST_STEP, num_steps).tolist()
    d = (1 - LAST_STEP) / (num_steps - 1)
    x = noise
    for u in times[:-1]:
        z = torch.randn(
            (rows, *noise.shape[1:]), generator=generator, dtype=noise.dtype, device=noise.device
        )
        x = x + drift(x, u) * d + math.sqrt(2 * (1 - u) * d) * z[-batch:]
    return x + drift(x, times[-1]) * LAST_STEP
