"""Any function of what was imagined is an objective."""

from __future__ import annotations

import torch
from torch import Tensor

from selfflow_robotics.planning import CEM

from ..point_mass import At, Path, PointMass, spec, start


def far_from_a_half(context: At, rollout: Path) -> Tensor:
    """Squared distance of the last position to (0.5, 0.5), (B, K)."""
    return (rollout.position_BKHA[:, :, -1] - 0.5).square().sum(-1)


def test_a_function_is_planned_with() -> None:
    world = PointMass(spec((-1.0, -1.0), (1.0, 1.0)))
    plan = CEM(world, far_from_a_half, 64, 6, horizon=2, topk=8).plan(start(2))
    reached = plan.actions_BHA.sum(dim=1)
    torch.testing.assert_close(reached, torch.full((2, 2), 0.5), atol=0.1, rtol=0)
