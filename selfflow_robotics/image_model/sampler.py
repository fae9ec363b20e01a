"""The released image model's sampler: an SDE back from noise, with guidance in an interval."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .checkpoint import ReleasedModel

LAST_STEP = 0.04
"""The released sampler covers this last stretch of time without noise."""


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
