"""The straight path from data (t=0) to noise (t=1) and what a velocity on it says.

x_t = (1 - t) x_0 + t noise, velocity = noise - x_0 (rectified flow, arXiv 2209.03003). Times have
fewer axes than the values they belong to: t (B,) or (B, T) goes with x (B, T, N, C).
"""

from __future__ import annotations

from torch import Tensor


def _expand(t: Tensor, like: Tensor) -> Tensor:
    if t.shape != like.shape[: t.ndim] and any(
        own not in (1, other) for own, other in zip(t.shape, like.shape, strict=False)
    ):
        raise ValueError(
            f"times of shape {tuple(t.shape)} do not lead values of shape {tuple(like.shape)}; "
            "give one time for each of the leading axes"
        )
    if t.ndim > like.ndim:
        raise ValueError(f"times have {t.ndim} axes but the values only {like.ndim}")
    return t.reshape(t.shape + (1,) * (like.ndim - t.ndim))


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t, shaped as `clean` and `noise`; t in [0, 1] has their leading axes."""
    t = _expand(t, clean)
    return (1 - t) * clean + t * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """The velocity noise - clean, constant along the path."""
    return noise - clean
