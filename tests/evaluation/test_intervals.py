from __future__ import annotations

import math

import pytest

from selfflow_robotics.evaluation.intervals import Interval, wilson

Z = 1.959963984540054


# Newcombe, Two-sided confidence intervals for the single proportion, Statistics in Medicine 17
# (1998), table I, method 3; and closed forms.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_agrees_with_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_no_success_in_fifty_has_the_closed_form_upper_bound() -> None:
    found = wilson(0, 50)
    assert found.low == 0.0
    assert found.high == pytest.approx(Z**2 / (50 + Z**2), abs=1e-12)


def test_eight_in_fifty() -> None:
    found = wilson(8, 50)
    assert found.low == pytest.approx(0.0834, abs=5e-5)
    assert found.high == pytest.approx(0.2851, abs=5e-5)


def test_is_the_root_of_the_score_equation() -> None:
    """At both bounds the observed rate lies exactly z standard errors away."""
    for successes, n in ((8, 50), (3, 7), (49, 50)):
        for bound in (wilson(successes, n).low, wilson(successes, n).high):
            error = math.sqrt(bound * (1 - bound) / n)
            assert abs(successes / n - bound) / error == pytest.approx(Z, rel=1e-9)


def test_mirrored_counts_give_mirrored_intervals() -> None:
    left, right = wilson(8, 50), wilson(42, 50)
    assert left.low == pytest.approx(1 - right.high)
    assert left.high == pytest.approx(1 - right.low)


def test_all_of_fifty_reaches_one_and_nothing_tried_says_nothing() -> None:
    assert wilson(50, 50).high == 1.0
    assert wilson(0, 0) == Interval(0.0, 1.0)


def test_more_successes_than_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="7 successes in 5 trials"):
        wilson(7, 5)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 5, confidence=1.0)
