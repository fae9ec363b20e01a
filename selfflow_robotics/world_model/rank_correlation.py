"""Whether what a model says orders things as the truth does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rank_correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Spearman's, with equal values sharing their rank; NaN where all are equal."""

    def ranks(values: NDArray[Any]) -> NDArray[np.float64]:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count + 1) / 2)[place]

    a, b = ranks(one), ranks(other)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
