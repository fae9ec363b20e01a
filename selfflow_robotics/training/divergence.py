"""A training that came to nothing says so: weights that are not numbers, a loss that only grew."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from torch import nn

_GREW = 10.0  # times the first loss
_LARGE = 1e4  # weights of sound networks stay within some tens
_HOPELESS = 1e8


def require_sound_weights(trained: nn.Module, checkpoint: Path) -> None:
    """Say where weights are absurdly large.

    Args:
        checkpoint: what holds them, for the message.

    Raises:
        RuntimeError: some are not finite, or so large that nothing finite comes of them.
    """
    for name, value in trained.named_parameters():
        greatest = float(value.detach().abs().max() if value.numel() else 0.0)
        if not greatest <= _HOPELESS:  # nor NaN
            held = "holds numbers that are not finite"
            if math.isfinite(greatest):
                held = f"has grown to {greatest:.3g}"
            raise RuntimeError(
                f"training diverged: {name} {held}, and no model is written; remove {checkpoint} "
                "and go on from the one before it with a lower trainer.learning_rate"
            )
        if greatest > _LARGE:
            _warn(f"{name} has grown to {greatest:.3g}")
            return


def say_if_diverged(first: float, last: float) -> None:
    """Compare the loss of this run's first step and of its last one."""
    if not last <= _GREW * abs(first):
        _warn(f"the loss was {first:.3g} at first and is {last:.3g} at last")


def _warn(what: str) -> None:
    print(
        f"warning: training has diverged: {what}; train anew with a lower trainer.learning_rate",
        file=sys.stderr,
    )
