"""How far a success rate counted on n episodes can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist


@dataclass(frozen=True)
class Interval:
    """Bounds of a proportion, 0 <= low <= high <= 1."""

    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval, without continuity correction.

    Unlike the normal approximation it stays inside 0..1 and has a width at 0 and n successes.

    Args:
        successes: number of successes, 0..n.
        n: number of trials; 0 gives the whole range.
        confidence: two-sided coverage, inside 0..1.

    Raises:
        ValueError: successes outside 0..n, or a confidence outside 0..1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    JASA 22 (1927) 209-212.

    Example:
        >>> wilson(49, 50)
        Interval(low=0.89..., high=0.99...)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials; give 0 <= successes <= trials")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"the confidence is {confidence}; give a number between 0 and 1")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At the ends the closed form is exact, but rounding leaves a residue of 1e-17.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == n else (centre + spread) / scale
    return Interval(low, high)
