"""The box that a search stays in."""

from __future__ import annotations

import pytest
import torch

from selfflow_robotics.planning.bounds import Bounds

from .point_mass import spec


def test_ends_lie_inside_the_environments_bounds_and_have_a_gradient() -> None:
    """What rounding puts outside would be cut, and a descent that reaches it never leave."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(300):
        below, above, low, high = torch.rand(4, generator=draw).tolist()
        bounds = Bounds(
            spec(
                q01=(-1 - below,) * 2, q99=(1 + above,) * 2, low=(-0.9 * low,) * 2, high=(high,) * 2
            )
        )
        for end_A in (bounds.low_A, bounds.high_A):
            given = end_A.clone().requires_grad_()
            units = bounds.to_environment(given)
            assert (units >= torch.tensor(-0.9 * low)).all() and (units <= torch.tensor(high)).all()
            (gradient,) = torch.autograd.grad(units.sum(), given)
            assert (gradient > 0).all()
        assert (bounds.to_environment(bounds.high_A) > torch.tensor(high) - 1e-6).all()


@pytest.mark.parametrize("most", [float("inf"), 1e300, 1e-40])
def test_a_range_that_single_precision_cannot_hold_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match=r"axis 1 (ranges over|are -)"):
        Bounds(spec(q01=(-0.5, -most), q99=(0.5, most)))
