"""Two policies on the same seeds: what one solves that the other does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from selfflow_robotics.evaluation.intervals import wilson

if TYPE_CHECKING:
    from selfflow_robotics.evaluation.results import TaskResult


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
        (-0.507..., -0.026...)
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


def paired(tasks: Sequence[TaskResult], policy: str, against: str) -> Paired | None:
    """Compare on all seeds of all tasks that both played; None where there are none."""
    solved = {
        (task.task, task.policy): {one.seed: one.success for one in task.episodes} for task in tasks
    }
    names = [name for name in dict.fromkeys(t.task for t in tasks) if (name, policy) in solved]
    names = [name for name in names if (name, against) in solved]
    pairs = [
        (won, solved[name, against][seed])
        for name in names
        for seed, won in solved[name, policy].items()
        if seed in solved[name, against]
    ]
    if not pairs:
        return None
    count = {pair: pairs.count(pair) for pair in ((True, True), (True, False), (False, True))}
    both, gained, lost = count.values()
    neither = len(pairs) - both - gained - lost
    low, high = paired_interval(both, gained, lost, neither)
    difference = (gained - lost) / len(pairs)
    p = mcnemar(gained, lost)
    return Paired(policy, against, tuple(names), len(pairs), gained, lost, difference, low, high, p)


def all_pairs(tasks: Sequence[TaskResult]) -> list[Paired]:
    """The first policy minus each other one, over all tasks."""
    first, *others = dict.fromkeys(task.policy for task in tasks)
    found = [paired(tasks, first, other) for other in others]
    return [one for one in found if one is not None]


def pairs_to_json(tasks: Sequence[TaskResult]) -> list[dict[str, Any]]:
    """Every two policies, over all tasks and in each."""
    policies = list(dict.fromkeys(task.policy for task in tasks))
    names = list(dict.fromkeys(task.task for task in tasks))
    groups = [tasks] + [[t for t in tasks if t.task == name] for name in names if len(names) > 1]
    pairs = [(one, two) for i, one in enumerate(policies) for two in policies[i + 1 :]]
    found = [paired(group, one, two) for group in groups for one, two in pairs]
    return [asdict(one) for one in found if one is not None]
