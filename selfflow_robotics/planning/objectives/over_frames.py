"""One cost of many frames, and settings that make sense."""

from __future__ import annotations

from torch import Tensor


def averaged(value_BKH: Tensor, discount: float, what: str) -> Tensor:
    """Mean over the H frames (B, K), each weighing `discount` times as much as the one before it.

    Args:
        what: returned the values; for the message.

    Raises:
        ValueError: the values do not have three axes.
    """
    if value_BKH.ndim != 3:
        raise ValueError(
            f"{what} returned shape {tuple(value_BKH.shape)}; "
            "it must return (rows, candidates, horizon)"
        )
    frames = value_BKH.new_ones(value_BKH.shape[-1]).float().cumsum(0) - 1
    weight_H = discount**frames
    return (value_BKH.float() * weight_H).sum(dim=-1) / weight_H.sum()


def require_positive(name: str, **settings: float) -> None:
    """Refuse settings of 0 or less.

    Raises:
        ValueError: names the objective and the setting.
    """
    for key, value in settings.items():
        if not value > 0:
            raise ValueError(f"{name} got {key}={value}; it must be above 0")
