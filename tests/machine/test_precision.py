from __future__ import annotations

import pytest
import torch

from selfflow_robotics.machine.precision import computing, resolve_reproducibly, use_threads


def test_precision_is_what_was_asked_for() -> None:
    layer, numbers = torch.nn.Linear(4, 4), torch.ones(2, 4)
    with computing("bf16", "cpu"):
        assert layer(numbers).dtype == torch.bfloat16
    with computing("fp32", "cpu"):
        assert layer(numbers).dtype == torch.float32
    with computing("auto", "cpu"):
        assert layer(numbers).dtype in (torch.bfloat16, torch.float32)


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
        use_threads(None)
        assert torch.get_num_threads() >= 1
        with pytest.raises(ValueError, match="threads=0 is too few"):
            use_threads(0)
    finally:
        torch.set_num_threads(before)


def test_training_on_a_processor_does_not_depend_on_what_is_measured() -> None:
    assert resolve_reproducibly("auto", "cpu") == "fp32"
    assert resolve_reproducibly("bf16", "cpu") == "bf16"
    with pytest.raises(ValueError, match="choose one of"):
        resolve_reproducibly("half", "cpu")  # type: ignore[arg-type]
