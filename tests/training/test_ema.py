from __future__ import annotations

import pytest
import torch
from torch import nn

from selfflow_robotics.training.ema import Ema


def linear(value: float) -> nn.Linear:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.constant_(layer.bias, -value)
    return layer


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.9])
def test_average_equals_its_closed_form(decay: float) -> None:
    ema, student = Ema(linear(1.0), decay), linear(5.0)
    left = 1.0  # share of the start
    for step in range(12):
        ema.update(student, step)
        left *= min(decay, (1 + step) / (10 + step))
        expected = 5.0 + left * (1.0 - 5.0)
        torch.testing.assert_close(ema.module.weight, torch.full((2, 2), expected))
        torch.testing.assert_close(ema.module.bias, torch.full((2,), -expected))


def test_average_is_fp32_and_its_own() -> None:
    student = linear(1.0).bfloat16()
    ema = Ema(student, 0.999)
    assert ema.module.weight.dtype == torch.float32
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert student.weight.requires_grad
    nn.init.constant_(student.weight, 2.0)
    # A step of a thousandth is lost in bfloat16.
    for step in range(10_000, 10_003):
        ema.update(student, step)
    torch.testing.assert_close(ema.module.weight, torch.full((2, 2), 2 - 0.999**3))


def test_counters_are_copied_not_averaged() -> None:
    student = nn.BatchNorm1d(3)
    ema = Ema(student, 0.9)
    student(torch.randn(4, 3))
    ema.update(student, 0)
    assert int(ema.module.num_batches_tracked) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range_is_a_sentence(decay: float) -> None:
    with pytest.raises(ValueError, match=r"the EMA decay is .*in \[0, 1\)"):
        Ema(linear(1.0), decay)
