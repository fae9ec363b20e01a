"""Plans end in time, and with what passes they were given."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from selfflow_robotics.planning import CEM, Plan
from selfflow_robotics.planning.budget import Budget, Pace

from .point_mass import Effort, PointMass, spec, start

SPEC = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))
GOAL = torch.tensor([[0.4, -0.9], [1.0, 0.3]])


class Slow(PointMass):
    """A world model that takes its time for every candidate."""

    def rollout(self, context: Any, actions_BKHA: Any, /, *, generator: Any = None) -> Any:
        self.began.append(time.perf_counter())
        time.sleep(0.001 + 0.0005 * actions_BKHA.shape[:2].numel())
        return super().rollout(context, actions_BKHA, generator=generator)


def test_more_candidates_than_fit_the_budget_are_judged_in_parts() -> None:
    cem = CEM(Slow(SPEC), Effort(GOAL), 400, iterations=10, max_seconds=0.2)  # 0.4 s an iteration
    for _ in range(2):
        called = time.perf_counter()
        plan = cem.plan(start(2))
        taken = time.perf_counter() - called
        assert plan.seconds == pytest.approx(taken, abs=0.05)
        assert 0.1 < taken < 2  # of 4 s, with room for what else the machine does
        assert plan.iterations == 1
        assert (plan.cost_B < plan.initial_cost_B).all()


def test_iterations_go_on_until_the_time_is_up() -> None:
    cem = CEM(Slow(SPEC), Effort(GOAL), 16, iterations=1000, max_seconds=0.25)
    plan = cem.plan(start(2))
    assert 3 <= plan.iterations <= 14
    assert plan.seconds < 2


def test_a_budget_too_small_for_anything_still_gives_the_start() -> None:
    model, objective = PointMass(SPEC, 0.01), Effort(GOAL)
    for limit in ({"max_seconds": 1e-6}, {"max_passes": 1}):
        plan = CEM(model, objective, **limit).plan(start(2))  # type: ignore[arg-type]
        assert plan.iterations == 1 and model.asked[-1].shape[1] == 1
        assert torch.equal(plan.cost_B, plan.initial_cost_B)


@pytest.mark.parametrize("passes", [40, 400, 1021])
def test_passes_are_limited_for_each_row(passes: int) -> None:
    def plan(rows: list[int]) -> Plan:
        cem = CEM(PointMass(SPEC), Effort(GOAL[rows]), 64, iterations=100, max_passes=passes)
        return cem.plan(start(len(rows)), seeds=rows)

    both = plan([0, 1])
    assert 0.9 * passes <= both.passes / 2 <= passes
    for row in range(2):
        single = plan([row])
        assert single.passes == both.passes / 2
        torch.testing.assert_close(single.actions_BHA[0], both.actions_BHA[row])


def test_passes_cannot_be_limited_where_nobody_counts_them() -> None:
    class Uncounted(PointMass):
        def rollout(self, context: Any, actions_BKHA: Any, /, *, generator: Any = None) -> Any:
            path = super().rollout(context, actions_BKHA, generator=generator)
            path.__dict__["passes"] = 0
            return path

    with pytest.raises(ValueError, match="count no passes"):
        CEM(Uncounted(SPEC), Effort(GOAL), max_passes=100).plan(start(2))


@pytest.mark.parametrize("limit", [{"max_seconds": 0.0}, {"max_seconds": -1}, {"max_passes": 0}])
def test_an_empty_budget_is_an_error(limit: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a budget that allows nothing; give more than 0"):
        CEM(PointMass(SPEC), Effort(GOAL), **limit)


def test_drawing_proposals_leaves_time_to_judge_them() -> None:
    drawn = []

    def propose(context: Any, candidates: int, horizon: int, **_: Any) -> torch.Tensor:
        time.sleep(0.01 * candidates)
        drawn.append(candidates)
        return torch.full((context.batch, candidates, horizon, 2), 0.1)

    cem = CEM(Slow(SPEC), Effort(GOAL), 64, propose=propose, proposals=40, max_seconds=0.2)
    plan = cem.plan(start(2))
    assert 2 <= sum(drawn) <= 12
    assert plan.passes > 2 * 4 * sum(drawn)
    assert plan.seconds < 0.3


def test_what_is_expected_goes_by_the_slowest_of_about_the_size() -> None:
    pace = Pace()
    assert pace.expected(1) == float("inf")
    pace.add(8, 1.0)
    assert pace.expected(5) == 1.0
    assert pace.expected(16) == 1.5
    assert pace.expected(17) == float("inf")
    pace.add(8, 3.0)
    assert pace.expected(8) == 3.0
    pace.add(4, 0.5)
    assert pace.expected(8) == 0.75
    for _ in range(3):
        pace.add(8, 0.7)
    assert pace.expected(8) == 0.7


def test_a_machine_that_slows_down_is_asked_for_less() -> None:
    def room(slower: float) -> int:
        pace = Pace()
        for size in (8, 16, 32, 64, 128):
            pace.add(size, 0.001 * size)
        budget = Budget(1, pace, max_seconds=0.2)
        budget.spend(8, 8, slower * 0.008)
        return budget.room(1000)

    assert room(1) > 1.5 * room(3) > 0
