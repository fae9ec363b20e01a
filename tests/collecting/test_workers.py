from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from selfflow_robotics.collecting.assignments import assign
from selfflow_robotics.collecting.workers import in_order


def test_no_more_is_given_out_than_was_asked_for() -> None:
    given: list[Any] = []
    assignments = assign(episodes=20)
    with ThreadPoolExecutor(3) as pool:
        results: Any = in_order(pool, lambda a: given.append(a) or a, assignments, ahead=6)  # type: ignore
        for done, result in enumerate(results):
            assert result is assignments[done]
            assert len(given) <= done + 6
    assert len(given) == 100
