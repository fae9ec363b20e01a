"""Two policies on the same seeds, against numbers known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from selfflow_robotics.evaluation.paired import every_two, mcnemar, paired, paired_interval
from selfflow_robotics.evaluation.results import EpisodeResult, PlanningTime, TaskResult, solved


def result(task: str, policy: str, won: dict[int, bool]) -> TaskResult:
    rows = tuple(EpisodeResult(seed, one, 5, 0, 0.0) for seed, one in won.items())
    return TaskResult(task, policy, rows, PlanningTime(1, 1, 0, 0, 0))


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(1, 7, 0.0703125), (7, 1, 0.0703125), (0, 6, 0.03125), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_mcnemar_is_the_exact_binomial(gained: int, lost: int, p: float) -> None:
    assert mcnemar(gained, lost) == pytest.approx(p, abs=1e-12)


def test_an_interval_of_pairs_holds_the_truth_as_often_as_it_says() -> None:
    low, high = paired_interval(1, 1, 7, 12)  # Bentur et al. 2009, as in Fagerland et al. 2014
    assert (low, high) == pytest.approx((-0.507, -0.026), abs=1e-3)
    chances, held = (0.3, 0.25, 0.1, 0.35), 0
    rng = np.random.default_rng(0)
    for counts in rng.multinomial(60, chances, size=2000):
        low, high = paired_interval(*map(int, counts))
        held += low <= chances[1] - chances[2] <= high
    assert 0.93 < held / 2000 < 0.97
    never = paired_interval(0, 0, 0, 20)
    assert never[0] == -never[1] < -0.1


def test_pairs_are_of_the_seeds_that_both_played() -> None:
    results = [
        result("a", "planner", {1: True, 2: True, 3: False, 4: True}),
        result("a", "prior", {1: True, 2: False, 3: True, 5: True}),
        result("b", "planner", {1: True, 2: True}),
        result("b", "prior", {1: False, 2: False}),
        result("b", "zero", {1: False, 2: False}),
    ]
    tasks = solved(results)
    found = paired(tasks, "planner", "prior")
    assert found is not None and found.tasks == ("a", "b")
    assert (found.seeds, found.gained, found.lost) == (5, 3, 1)
    assert found.difference == pytest.approx(2 / 5) and found.p == 0.625
    zero = paired(tasks, "planner", "zero")
    assert zero is not None and (zero.tasks, zero.gained) == (("b",), 2)
    assert paired(solved(results[:1]), "planner", "prior") is None
    told = [(one.policy, one.against, len(one.tasks)) for one in every_two(tasks)]
    assert ("planner", "prior", 2) in told and ("prior", "zero", 1) in told
