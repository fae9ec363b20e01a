"""World models asked for more steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import CEM
from selfflow_robotics.planning.more_steps import Denoising

from .point_mass import Effort, Path, PointMass, spec, start

SPEC = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))


class Denoises(PointMass):
    """Remembers how many steps it was asked for."""

    def rollout(  # type: ignore[override]
        self, context: Any, actions_BKHA: Tensor, steps: int = 1, *, generator: Any = None
    ) -> Path:
        self.steps = steps
        return super().rollout(context, actions_BKHA, generator=generator)


def test_a_solver_plans_in_the_steps_given() -> None:
    model, objective = Denoises(SPEC), Effort(torch.ones(2, 2))
    plan = CEM(Denoising(model, 3), objective).plan(start(2))
    assert model.steps == 3
    assert torch.equal(plan.actions_BHA, CEM(PointMass(SPEC), objective).plan(start(2)).actions_BHA)


def test_no_steps_are_an_error() -> None:
    with pytest.raises(ValueError, match="steps=0"):
        Denoising(Denoises(SPEC), 0)
