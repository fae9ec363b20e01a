"""Noise whose neighbouring steps resemble each other."""

from __future__ import annotations

import pytest
import torch

from selfflow_robotics.planning.solvers.colored_noise import colored


def white(steps: int) -> torch.Tensor:
    return torch.randn(4, 5000, steps, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 12])
@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_every_step_keeps_a_variance_of_one(steps: int, beta: float) -> None:
    noise = colored(white(steps), beta)
    torch.testing.assert_close(noise.var(dim=(0, 1)), torch.ones(steps, 2), atol=0.05, rtol=0)
    assert noise.mean().abs() < 0.02


def test_power_falls_with_the_frequency_to_the_minus_beta() -> None:
    spectrum = torch.fft.rfft(colored(white(12), 2.0), dim=2).abs().square().mean((0, 1, 3))
    frequency = torch.fft.rfftfreq(12)[1:]
    slope = (spectrum[1:].log() - spectrum[1].log()) / (frequency / frequency[0]).log()
    torch.testing.assert_close(slope[1:], torch.full((5,), -2.0), atol=0.1, rtol=0)


def test_white_noise_stays_as_it_is() -> None:
    assert torch.equal(colored(white(4), 0.0), white(4))
    assert torch.equal(colored(white(1), 2.0), white(1))
