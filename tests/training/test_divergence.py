from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from selfflow_robotics.training.divergence import require_sound_weights, say_if_diverged


def linear(value: float) -> nn.Module:
    made = nn.Linear(2, 2)
    nn.init.constant_(made.weight, value)
    return made


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error(value: float) -> None:
    with pytest.raises(RuntimeError, match=r"weight holds numbers that are not finite.*step-9"):
        require_sound_weights(linear(value), Path("step-9"))


def test_weights_beyond_all_use_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"weight has grown to 2e\+11, and no model is written"):
        require_sound_weights(linear(2e11), Path("step-9"))


def test_weights_and_losses_that_grew_absurdly_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    require_sound_weights(linear(9e5), Path("step-9"))
    assert "weight has grown to 9e+05" in capsys.readouterr().err
    say_if_diverged(2.0, 5e11)
    assert "the loss was 2 at first and is 5e+11 at last" in capsys.readouterr().err
    say_if_diverged(2.0, float("nan"))
    assert "at last" in capsys.readouterr().err


def test_sound_trainings_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    require_sound_weights(nn.Linear(4, 4), Path("step-9"))
    say_if_diverged(2.0, 0.5)
    assert capsys.readouterr().err == ""
