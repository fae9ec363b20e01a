"""Statistics of LeRobot features, as `meta/stats.json` and `meta/episodes` hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_LEVELS = 256

Statistics = Mapping[str, NDArray[Any]]
"""min, max, mean, std and quantiles, each of the shape of one entry, and count (1,)."""


def of_numbers(values: NDArray[Any]) -> Statistics:
    """Of a feature with numbers, over its steps.

    Args:
        values: (n, k).

    Returns:
        Statistics of shape (k,).
    """
    exact = values.astype(np.float64)
    found: dict[str, NDArray[Any]] = {
        "min": exact.min(axis=0),
        "max": exact.max(axis=0),
        "mean": exact.mean(axis=0),
        "std": exact.std(axis=0),
        "count": np.array([len(values)]),
    }
    return found | {name: np.quantile(exact, share, axis=0) for name, share in QUANTILES.items()}


def levels(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(3, 256): how many pixels of images (n, height, width, 3) have each level."""
    return np.stack([np.bincount(images[..., c].ravel(), minlength=_LEVELS) for c in range(3)])


def of_levels(counts: NDArray[np.int64], images: int) -> Statistics:
    """Of a feature with pixels, over all pixels of a channel.

    Args:
        counts: (3, 256), see :func:`levels`.
        images: how many images they were counted in.

    Returns:
        Statistics of shape (3, 1, 1), of levels scaled to 0..1.
    """
    scale = np.arange(_LEVELS) / (_LEVELS - 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    summed = shares.cumsum(axis=1)
    mean = shares @ scale
    there = counts > 0
    found = {
        "min": scale[there.argmax(axis=1)],
        "max": scale[_LEVELS - 1 - there[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(shares @ scale**2 - mean**2, 0)),
    } | {name: scale[(summed >= share).argmax(axis=1)] for name, share in QUANTILES.items()}
    shaped = {name: values.reshape(3, 1, 1) for name, values in found.items()}
    return shaped | {"count": np.array([images])}
