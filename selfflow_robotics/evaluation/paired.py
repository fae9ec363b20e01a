"""Two policies on the same seeds: what one solves that the other does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from selfflow_robotics.evaluation.intervals import wilson

Solved: TypeAlias = Mapping[tuple[str, str], Mapping[int, bool]]
"""Of each task and policy, the seeds that were played and whether each was solved."""


@dataclass(frozen=True)
class Paired:
    """A policy minus another."""

    policy: str
    against: str
    tasks: tuple[str, ...]
    seeds: int  # that both played, over all tasks
    gained: int  # solved by the policy alone
    lost: int  # solved by the other alone
    difference: float  # of the success rates
    low: float  # of its 95% interval
    high: float
    p: float  # exact McNemar, two-sided

    def __str__(self) -> str:
        """One line."""
        return (
            f"{self.policy} - {self.against}: {100 * self.difference:+.0f} points "
            f"({100 * self.low:+.0f} to {100 * self.high:+.0f}), {self.gained} gained and "
            f"{self.lost} lost of {self.seeds}, p={self.p:.2g}"
        )


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p of as uneven a split of the seeds on which two policies differ.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions
    or percentages, Psychometrika 12 (1947) 153-157; with the binomial distribution itself.

    Example:
        >>> mcnemar(7, 1)
        0.0703125
    """
    count = gained + lost
    tail = sum(math.comb(count, k) for k in range(min(gained, lost) + 1))
    return min(1.0, float(2 * tail / 2**count))


def paired_interval(both: int, gained: int, lost: int, neither: int) -> tuple[float, float]:
    """95% interval of the difference of two success rates on the same seeds.

    Unlike the normal approximation it has a width where the policies never differ.

    Source: R. G. Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998) 2635-2650, method 10.

    Example:
        >>> paired_interval(1, 1, 7, 12)  # of 21
        (-0.506..., -0.025...)
    """
    n = both + gained + lost + neither
    ours, theirs = both + gained, both + lost
    spread = math.sqrt(ours * (n - ours) * theirs * (n - theirs))
    alike = float(both * neither - gained * lost)
    alike = max(alike - n / 2, 0.0) if alike > 0 else alike
    phi = alike / spread if spread else 0.0
    a, b = wilson(ours, n), wilson(theirs, n)
    down, up = (ours / n - a.low, b.high - theirs / n), (a.high - ours / n, theirs / n - b.low)
    low, high = (math.sqrt(x * x - 2 * phi * x * y + y * y) for x, y in (down, up))
    difference = (gained - lost) / n
    return difference - low, difference + high


def paired(solved: Solved, policy: str, against: str, task: str | None = None) -> Paired | None:
    """Compare on all seeds that both played, in one task or in all; None where there are none."""
    names = [name for name, who in solved if who == policy and task in (None, name)]
    names = [name for name in names if (name, against) in solved]
    pairs = [
        (won, solved[name, against][seed])
        for name in names
        for seed, won in solved[name, policy].items()
        if seed in solved[name, against]
    ]
    if not pairs:
        return None
    both, gained, lost, neither = (
        pairs.count(one) for one in ((True, True), (True, False), (False, True), (False, False))
    )
    return Paired(
        policy,
        against,
        tuple(names),
        len(pairs),
        gained,
        lost,
        (gained - lost) / len(pairs),
        *paired_interval(both, gained, lost, neither),
        mcnemar(gained, lost),
    )


def first_against_others(solved: Solved) -> list[Paired]:
    """The first policy minus each other one, over all tasks."""
    first, *others = dict.fromkeys(policy for _, policy in solved)
    found = [paired(solved, first, other) for other in others]
    return [one for one in found if one is not None]


def every_two(solved: Solved) -> list[Paired]:
    """Every two policies, over all tasks and, where there are several, in each."""
    tasks = list(dict.fromkeys(task for task, _ in solved))
    policies = list(dict.fromkeys(policy for _, policy in solved))
    found = [
        paired(solved, one, two, task)
        for task in (None, *(tasks if len(tasks) > 1 else ()))
        for i, one in enumerate(policies)
        for two in policies[i + 1 :]
    ]
    return [one for one in found if one is not None]
