from __future__ import annotations

import pytest
import torch

from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.memory_check import require_memory, say_memory, total
from selfflow_robotics.training.ranks import Ranks

OBJECTIVE = ObjectiveConfig()


def test_a_run_larger_than_the_machine_is_refused_before_it_is_built() -> None:
    size = TrainerConfig(batch_size=2**24, frames=16)
    with pytest.raises(ValueError, match=r"takes about .* GiB of memory, and cpu has .*; take a"):
        require_memory(ModelConfig("tiny"), OBJECTIVE, size, Patches(8), (64, 80), Ranks(), words=9)


def test_a_small_run_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    size = TrainerConfig(batch_size=2, frames=3)
    require_memory(ModelConfig("tiny"), OBJECTIVE, size, Patches(8), (32, 48), Ranks())
    assert capsys.readouterr() == ("", "")


def test_less_free_than_needed_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    say_memory(3 * 2**30, 2 * 2**30, 8 * 2**30, "cuda:1")
    assert "about 3 GiB of memory, and cuda:1 has 2 free" in capsys.readouterr().err
    assert total(torch.device("cpu")) > 2**28
