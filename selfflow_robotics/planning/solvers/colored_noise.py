"""Noise whose neighbouring steps resemble each other.

Timmer and König, "On generating power law noise", 1995, as iCEM uses it: the spectral power of
frequency f falls with f ** -beta. 0 is white noise; the larger beta, the slower it varies, and the
further a sampled action sequence leads.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def colored(white_BKHA: Tensor, beta: float) -> Tensor:
    """Standard normal noise, coloured along its steps; every entry keeps a variance of 1.

    Args:
        white_BKHA: independent standard normal numbers, on CPU; H of 1 returns them as they are.
        beta: exponent, 0 or more.
    """
    steps = white_BKHA.shape[2]
    if steps == 1 or beta == 0:
        return white_BKHA
    spectrum = torch.fft.rfft(white_BKHA, dim=2) * _amplitude(steps, beta)
    noise_BKHA: Tensor = torch.fft.irfft(spectrum, n=steps, dim=2)
    return noise_BKHA


@lru_cache
def _amplitude(steps: int, beta: float) -> Tensor:
    """Of every wave, (waves, 1)."""
    frequency = torch.fft.rfftfreq(steps).clamp(min=1 / steps)
    amplitude = frequency ** (-beta / 2)
    # A wave's power is the variance that it gives; all lines but the ends stand for two waves.
    lines = torch.full_like(amplitude, 2.0)
    lines[0] = 1.0
    if steps % 2 == 0:
        lines[-1] = 1.0
    scaled: Tensor = amplitude * math.sqrt(steps) / (lines * amplitude**2).sum().sqrt()
    return scaled[:, None]
