from __future__ import annotations

import pytest
import torch
from torch import Tensor

from selfflow_robotics.flow.path import interpolate, velocity


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_path_runs_from_data_to_noise() -> None:
    clean, noise = pair(2, 3, 4)
    assert torch.equal(interpolate(clean, noise, torch.zeros(2)), clean)
    assert torch.equal(interpolate(clean, noise, torch.ones(2)), noise)


def test_velocity_is_the_derivative_of_the_path() -> None:
    clean, noise = (part.double() for part in pair(2, 3))
    t, h = torch.tensor([0.3, 0.8], dtype=torch.float64), 1e-6
    slope = (interpolate(clean, noise, t + h) - interpolate(clean, noise, t - h)) / (2 * h)
    torch.testing.assert_close(slope, velocity(clean, noise), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("axes", [0, 1, 2, 3, 4])
def test_data_come_back_for_times_of_any_leading_axes(axes: int) -> None:
    shape = (2, 3, 4, 5)
    clean, noise = pair(*shape)
    t = 0.1 + 0.8 * torch.rand(shape[:axes], generator=torch.Generator().manual_seed(1))
    x, v = interpolate(clean, noise, t), velocity(clean, noise)
    torch.testing.assert_close(x - t.reshape(t.shape + (1,) * (4 - t.ndim)) * v, clean)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 3, 1, 1)])
def test_times_of_other_axes_are_refused(shape: tuple[int, ...]) -> None:
    clean, noise = pair(2, 3, 4)
    with pytest.raises(ValueError, match="times"):
        interpolate(clean, noise, torch.rand(shape))
