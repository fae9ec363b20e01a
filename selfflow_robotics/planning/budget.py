"""How long a plan may take, in seconds or network passes, and how much of it is left.

To imagine all candidates at once can take longer than the whole budget, so they are judged in
parts no larger than the time left allows, going by how long the last parts took.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

_SLACK = 1.35  # a part may take so many times what is expected, and still end in time
_GROWTH = 2  # a part has at most so many times the sequences of the largest one seen
_REMEMBERED = 3  # parts of about one size: few, for the load of a machine changes
_LARGEST_RESERVE = 0.2  # of the time; where judging one more takes longer, none is held back


class Stopwatch:
    """Seconds spent inside its ``with`` blocks."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: Any) -> None:
        self.seconds += time.perf_counter() - self._began


class Pace:
    """How long judging takes, going by the last parts; a solver keeps it from plan to plan."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[int, float]]] = {}  # by the power of 2 next above

    def add(self, sequences: int, seconds: float) -> None:
        """Remember that so many action sequences took so long."""
        size = (sequences - 1).bit_length()
        self._seen.setdefault(size, deque(maxlen=_REMEMBERED)).append((sequences, seconds))

    def expected(self, sequences: int) -> float:
        """Seconds that so many action sequences take; infinite for far more than were ever seen.

        Fewer sequences take no longer. Of up to twice as many, half the time is taken to grow with
        them and half to stay: the slack covers it where all of it grows. The slowest of the last
        parts of about the same size counts.
        """
        bounds = [float("inf")]
        for parts in self._seen.values():
            size, seconds = max(size for size, _ in parts), max(took for _, took in parts)
            if sequences <= _GROWTH * size:
                bounds.append(seconds * max(1.0, (1 + sequences / size) / 2))
        return min(bounds)


class Budget:
    """What one plan of some rows has spent, and how many more candidates it may judge.

    Args:
        rows: B, planned for at once.
        pace: of the solver.
        max_seconds: from now on; None for no limit.
        max_passes: network passes a row; None for no limit.
        reserve: candidates a row that are judged in the end, which the others leave room for.
    """

    def __init__(
        self,
        rows: int,
        pace: Pace,
        max_seconds: float | None = None,
        max_passes: int | None = None,
        reserve: int = 0,
    ) -> None:
        self.started = time.perf_counter()
        self.rows, self.pace = rows, pace
        self.max_seconds, self.max_passes, self.reserve = max_seconds, max_passes, reserve
        self.judged, self.passes = 0, 0  # candidates a row; passes of all rows
        self._slowdown = 1.0

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return time.perf_counter() - self.started

    def room(self, wanted: int, reserve: int | None = None) -> int:
        """How many of the candidates wanted to judge next, 0 where the budget allows no more.

        The very first candidate is always allowed, and comes alone where nothing is known yet of
        what candidates cost.
        """
        reserve = self.reserve if reserve is None else reserve
        first = int(self.judged == 0)
        room = wanted
        if self.max_passes is not None:
            if first:
                room = 1
            else:
                left = self.max_passes * self.rows - self.passes
                room = max(0, min(room, left * self.judged // self.passes - reserve))
        if self.max_seconds is not None:
            held_back = self._expected(self.pace, reserve)
            if held_back > _LARGEST_RESERVE * self.max_seconds:
                held_back = 0.0
            room = self._in_time(room, self.pace, self.max_seconds - held_back)
        return max(room, first)

    @property
    def half_time(self) -> float | None:
        """Seconds of the search at which half of the time left now is over; None for no limit."""
        return None if self.max_seconds is None else (self.seconds + self.max_seconds) / 2

    def drawable(self, wanted: int, pace: Pace, end: float | None) -> int:
        """How many candidates may be drawn next, to be done at some second of the search."""
        return wanted if end is None else self._in_time(wanted, pace, end)

    def spend(self, candidates: int, passes: int, seconds: float) -> None:
        """Note what judging some candidates of every row took.

        Raises:
            ValueError: passes are limited, but the world model does not count them.
        """
        if self.max_passes is not None and not passes:
            raise ValueError(
                f"max_passes={self.max_passes} was asked for, but the world model's rollouts count "
                "no passes; limit max_seconds or iterations"
            )
        self.note(self.pace, candidates, seconds)
        self.judged += candidates
        self.passes += passes

    def note(self, pace: Pace, candidates: int, seconds: float) -> None:
        """Note what some candidates of every row took; a plan without a limit teaches no pace."""
        if self.max_seconds is None:
            return
        expected = pace.expected(candidates * self.rows)
        self._slowdown = max(self._slowdown, seconds / max(expected, 1e-9))
        pace.add(candidates * self.rows, seconds)

    def _in_time(self, wanted: int, pace: Pace, end: float) -> int:
        """At most so many candidates, which end in time even if slower than expected."""
        low, high = 0, wanted  # longest that fits, by halving: more never take less
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.seconds + _SLACK * self._expected(pace, middle) <= end
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

    def _expected(self, pace: Pace, candidates: int) -> float:
        """Seconds, by the slowest that this plan has seen against what was expected of it."""
        return self._slowdown * pace.expected(candidates * self.rows) if candidates else 0.0
