"""What the cross-entropy planner promises, in a world whose best plans are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.planning import CEM, Plan, RowGenerators

from ..point_mass import At, Effort, PointMass, spec, start

SPEC = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))


def goals(batch: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(batch, 2, generator=torch.Generator().manual_seed(3))


def last_at(goal: Tensor) -> Any:
    return lambda context, rollout: (rollout.position_BKHA[:, :, -1] - goal).square().sum(-1)


def test_reaches_the_analytic_optimum() -> None:
    goal, horizon = goals(6), 4
    cem = CEM(PointMass(SPEC), Effort(goal), 128, iterations=25, topk=12, min_std=0.001)
    plan = cem.plan(start(6))
    best = (goal / (horizon + 1))[:, None].expand(-1, horizon, -1)
    assert (plan.actions_BHA - best).abs().max() < 0.01


def test_optimum_outside_the_bounds_returns_the_bound() -> None:
    cem = CEM(PointMass(SPEC), last_at(torch.tensor([50.0, -50.0])), iterations=15, min_std=0.001)
    plan = cem.plan(start(2))
    assert (plan.actions_BHA - torch.tensor([0.6, -0.5])).abs().max() < 0.02


def test_a_plan_that_gains_too_little_leaves_the_start() -> None:
    goal, resting = goals(6), torch.zeros(6, 4, 2)

    def plan(min_gain: float) -> Plan:
        return CEM(PointMass(SPEC), Effort(goal), 64, topk=6, min_gain=min_gain).plan(start(6))

    free, kept = plan(0.0), plan(1e9)
    assert (free.cost_B < free.initial_cost_B).all()
    torch.testing.assert_close(kept.actions_BHA, resting)
    assert torch.equal(kept.cost_B, kept.initial_cost_B)
    between = float((free.initial_cost_B - free.cost_B).median())
    some = plan(between)
    moved = (some.actions_BHA != 0).any(dim=2).any(dim=1)
    assert moved.tolist() == (free.initial_cost_B - free.cost_B >= between).tolist()
    assert 0 < moved.sum() < 6
    assert torch.equal(some.actions_BHA[moved], free.actions_BHA[moved])


bounds = st.lists(
    st.tuples(st.floats(-2, 2, width=32), st.floats(-2, 2, width=32)).filter(
        lambda ends: not 0 < abs(ends[0] - ends[1]) < 1e-30  # which single precision cannot hold
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(
    bounds=bounds,
    batch=st.integers(1, 3),
    candidates=st.integers(1, 12),
    iterations=st.integers(1, 3),
    horizon=st.integers(1, 4),
    seed=st.integers(0, 2**40),
)
def test_never_asks_or_returns_an_action_outside_the_bounds(
    bounds: list[tuple[float, float]],
    batch: int,
    candidates: int,
    iterations: int,
    horizon: int,
    seed: int,
) -> None:
    q01, q99 = zip(*(sorted(pair) for pair in bounds), strict=True)
    model = PointMass(spec(q01, q99))
    goal = torch.full((batch, len(q01)), 1.7)
    cem = CEM(model, Effort(goal), candidates, iterations, horizon, topk=(candidates + 2) // 3)
    plan = cem.plan(start(batch, len(q01)), seeds=[seed] * batch)
    assert plan.actions_BHA.shape == (batch, horizon, len(q01))
    low = torch.tensor(q01).clamp(-1, 1) - 1e-6
    high = torch.tensor(q99).clamp(-1, 1) + 1e-6
    for actions in (*model.asked, plan.actions_BHA):
        assert ((actions >= low) & (actions <= high)).all()
    assert plan.mean_BHA.abs().max() <= 1


def test_the_cost_is_that_of_the_returned_actions() -> None:
    model, objective = PointMass(SPEC), Effort(goals(5))
    plan = CEM(model, objective).plan(start(5))
    true = objective(start(5), model.rollout(start(5), plan.actions_BHA[:, None]))
    torch.testing.assert_close(plan.cost_B, true[:, 0])
    assert (plan.cost_B < plan.initial_cost_B).all()


def noisy(goal: Tensor) -> Any:
    return lambda context, rollout: Effort(goal)(context, rollout) + 0.1 * rollout.noise_BK


def draw(context: At, candidates: int, horizon: int, *, generator: RowGenerators | None) -> Tensor:
    assert generator is not None
    return torch.stack([torch.randn(candidates, horizon, 2, generator=g) / 3 for g in generator])


def test_a_batch_of_eight_equals_eight_single_plans() -> None:
    goal, model = goals(8), PointMass(SPEC)
    seeds = list(range(10, 18))
    both = CEM(model, noisy(goal), propose=draw).plan(start(8), seeds=seeds)
    again = CEM(model, noisy(goal), propose=draw).plan(start(8), both, seeds=seeds)
    for row in range(8):
        cem = CEM(model, noisy(goal[row : row + 1]), propose=draw)
        single = cem.plan(start(1), seeds=[seeds[row]])
        torch.testing.assert_close(single.actions_BHA[0], both.actions_BHA[row], atol=1e-5, rtol=0)
        single = cem.plan(start(1), single, seeds=[seeds[row]])
        torch.testing.assert_close(single.actions_BHA[0], again.actions_BHA[row], atol=1e-5, rtol=0)


@settings(max_examples=20, deadline=None)
@given(order=st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True))
def test_a_row_does_not_depend_on_the_others_nor_on_its_place(order: list[int]) -> None:
    goal, model = goals(8), PointMass(SPEC)
    everything = CEM(model, noisy(goal)).plan(start(8), seeds=range(8))
    some = CEM(model, noisy(goal[order])).plan(start(len(order)), seeds=order)
    torch.testing.assert_close(some.actions_BHA, everything.actions_BHA[order], atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_plan_and_another_does_not() -> None:
    cem = CEM(PointMass(SPEC), Effort(goals(2)))
    first, again = cem.plan(start(2), seeds=[4, 5]), cem.plan(start(2), seeds=[4, 5])
    assert torch.equal(first.actions_BHA, again.actions_BHA)
    assert not torch.equal(first.actions_BHA, cem.plan(start(2), seeds=[4, 6]).actions_BHA)
    other = CEM(PointMass(SPEC), Effort(goals(2)), seed=1).plan(start(2), seeds=[4, 5])
    assert not torch.equal(first.actions_BHA, other.actions_BHA)


def test_draws_nothing_from_the_global_stream() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    CEM(PointMass(SPEC), Effort(goals(2))).plan(start(2))
    assert torch.equal(torch.rand(1), expected)


def only_start(model: PointMass, goal: Tensor, **how: Any) -> Plan:
    """A plan of one candidate and one iteration: the mean that a search starts from."""
    return CEM(model, Effort(goal), candidates=1, iterations=1, topk=1).plan(
        start(len(goal)), **how
    )


def test_warm_start_is_the_last_plan_shifted_by_the_executed_steps() -> None:
    goal, model = goals(2), PointMass(SPEC)
    plan = CEM(model, Effort(goal)).plan(start(2))
    mean = SPEC.denormalize(plan.mean_BHA)
    rest = torch.zeros(2, 4, 2)
    for executed in range(6):
        expected = torch.cat([mean[:, executed:], rest[:, : min(executed, 4)]], dim=1)
        warm = only_start(model, goal, previous=plan, executed=executed)
        torch.testing.assert_close(warm.actions_BHA, expected)


def test_rows_without_a_previous_plan_start_afresh() -> None:
    goal, model = goals(2), PointMass(SPEC)
    plan = CEM(model, Effort(goal)).plan(start(2))
    warm = only_start(model, goal, previous=[None, plan.row(1)], executed=0)
    torch.testing.assert_close(warm.actions_BHA[0], torch.zeros(4, 2))
    torch.testing.assert_close(warm.actions_BHA[1], SPEC.denormalize(plan.mean_BHA)[1])


def test_warm_start_lowers_the_cost() -> None:
    goal, model = goals(16), PointMass(SPEC)
    plan = CEM(model, Effort(goal)).plan(start(16))
    cold = CEM(model, Effort(goal), iterations=1).plan(start(16))
    warm = CEM(model, Effort(goal), iterations=1).plan(start(16), plan, executed=0)
    assert warm.cost_B.mean() < cold.cost_B.mean()


def test_standard_deviation_has_a_floor() -> None:
    cem = CEM(PointMass(SPEC), Effort(goals(2)), iterations=30, min_std=0.07)
    assert cem.plan(start(2)).std_BHA.min() == pytest.approx(0.07)


def test_counts_passes_and_iterations() -> None:
    plan = CEM(PointMass(SPEC), Effort(goals(2)), candidates=10, iterations=3, topk=2).plan(
        start(2)
    )
    assert plan.iterations == 3
    assert plan.passes == 2 * 4 * (3 * 10 + 1)


@pytest.mark.parametrize("worst", [float("nan"), float("inf"), -float("inf")])
def test_costs_that_are_not_finite_are_the_worst(worst: float) -> None:
    def objective(context: Any, rollout: Any) -> Tensor:
        cost = last_at(torch.tensor([2.0, 2.0]))(context, rollout)
        return torch.where(rollout.position_BKHA[:, :, -1, 0] > 0.5, worst, cost)

    plan = CEM(PointMass(SPEC), objective, iterations=20).plan(start(2))
    assert plan.cost_B.isfinite().all()
    assert (plan.actions_BHA.sum(dim=1)[:, 0] <= 0.5 + 1e-5).all()
    assert (plan.actions_BHA.sum(dim=1)[:, 0] > 0.3).all()


def test_a_row_without_any_finite_cost_is_an_error_that_names_it() -> None:
    def objective(context: Any, rollout: Any) -> Tensor:
        cost = Effort(goals(3))(context, rollout)
        cost[1] = float("nan")
        return cost

    with pytest.raises(ValueError, match=r"none of the 64 candidates of row 1 has a finite cost"):
        CEM(PointMass(SPEC), objective).plan(start(3))


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 64, 4), (1, 64)])
def test_costs_of_the_wrong_shape_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"costs of shape .* for a rollout of 3 rows and 64"):
        CEM(PointMass(SPEC), lambda context, rollout: torch.zeros(shape)).plan(start(3))


def test_proposals_of_the_wrong_shape_are_an_error() -> None:
    def propose(context: Any, candidates: int, horizon: int, **_: Any) -> Tensor:
        return torch.zeros(context.batch, candidates, horizon - 1, 2)

    with pytest.raises(ValueError, match=r"propose returned actions of shape \(3, 32, 3, 2\)"):
        CEM(PointMass(SPEC), Effort(goals(3)), propose=propose).plan(start(3))


def test_proposals_that_are_not_finite_are_an_error() -> None:
    def propose(context: Any, candidates: int, horizon: int, **_: Any) -> Tensor:
        return torch.full((context.batch, candidates, horizon, 2), float("nan"))

    with pytest.raises(ValueError, match="not finite"):
        CEM(PointMass(SPEC), Effort(goals(3)), propose=propose).plan(start(3))


def test_a_proposal_nothing_else_finds_is_kept_to_the_end() -> None:
    needle = torch.tensor([[0.31, -0.17], [0.11, 0.42], [-0.5, 0.2], [0.0, 0.7]])

    def propose(context: Any, candidates: int, horizon: int, **_: Any) -> Tensor:
        actions = torch.zeros(context.batch, candidates, horizon, 2)
        actions[:, 0] = needle
        return actions

    def objective(context: Any, rollout: Any) -> Tensor:
        return ((rollout.actions_BKHA - needle).abs().amax((-1, -2)) > 1e-4).float()

    plan = CEM(PointMass(SPEC), objective, propose=propose, proposals=4).plan(start(2))
    torch.testing.assert_close(plan.actions_BHA, needle.expand(2, -1, -1))
    assert (plan.cost_B == 0).all()


def test_a_search_with_proposals_starts_from_their_mean() -> None:
    def propose(context: Any, candidates: int, horizon: int, **_: Any) -> Tensor:
        low, high = torch.full((2, horizon, 2), 0.2), torch.full((2, horizon, 2), 0.4)
        return torch.stack([low, high], dim=1)

    model = PointMass(SPEC)
    cem = CEM(model, Effort(goals(2)), 6, iterations=1, topk=2, propose=propose, proposals=2)
    cem.plan(start(2))
    torch.testing.assert_close(model.asked[0][:, 0], torch.full((2, 4, 2), 0.3))
    torch.testing.assert_close(model.asked[0][:, 1], torch.full((2, 4, 2), 0.2))
    torch.testing.assert_close(model.asked[0][:, 2], torch.full((2, 4, 2), 0.4))


def test_the_plan_goes_around_an_obstacle_not_between_both_ways() -> None:
    def objective(context: Any, rollout: Any) -> Tensor:
        past = rollout.position_BKHA
        reached = (past[:, :, -1] - torch.tensor([2.0, 0.0])).square().sum(-1)
        hit = (0.4 - (past - torch.tensor([1.0, 0.0])).norm(dim=-1)).clamp(min=0)
        return reached + 50 * hit.sum(-1)

    plan = CEM(PointMass(SPEC), objective, 128, iterations=2).plan(start(32), seeds=range(32))
    path = plan.actions_BHA.cumsum(dim=1)
    clear = (path - torch.tensor([1.0, 0.0])).norm(dim=-1).min(dim=1).values
    assert (clear > 0.35).float().mean() > 0.9


def test_resists_errors_of_the_model_better_than_its_best_candidate() -> None:
    g = torch.Generator().manual_seed(0)
    waves, phases = 20 * torch.randn(256, 8, generator=g), 7 * torch.rand(256, generator=g)
    goal, seen = goals(64), []

    def objective(context: Any, rollout: Any) -> Tensor:
        true = Effort(goal)(context, rollout)
        wrong = torch.cos(rollout.actions_BKHA.flatten(2) @ waves.T + phases).mean(-1)
        seen.append((true, true + 4 * wrong))
        return true + 4 * wrong

    model = PointMass(SPEC)
    plan = CEM(model, objective).plan(start(64), seeds=range(64))
    true, predicted = (torch.cat(costs, dim=1) for costs in zip(*seen, strict=True))
    best = true.gather(1, predicted.argmin(dim=1, keepdim=True)).mean()
    chosen = Effort(goal)(start(64), model.rollout(start(64), plan.actions_BHA[:, None])).mean()
    assert chosen < best


def test_horizon_one_and_one_candidate() -> None:
    plan = CEM(PointMass(SPEC), Effort(goals(2)), 1, iterations=5, horizon=1, topk=1).plan(start(2))
    assert plan.actions_BHA.shape == (2, 1, 2)
    assert (plan.cost_B <= plan.initial_cost_B).all()


def test_zero_width_bounds_leave_one_action() -> None:
    fixed = spec(q01=(0.25, -0.4), q99=(0.25, 0.4))
    plan = CEM(PointMass(fixed), Effort(goals(2))).plan(start(2))
    assert (plan.actions_BHA[..., 0] == 0.25).all()
    assert plan.actions_BHA[..., 1].abs().max() > 0


def test_an_action_that_zero_is_no_part_of_starts_in_the_middle_of_its_range() -> None:
    away = spec(q01=(0.5, -0.4), q99=(0.9, 0.4))
    plan = only_start(PointMass(away), goals(1))
    torch.testing.assert_close(plan.actions_BHA, torch.tensor([0.7, 0.0]).expand(1, 4, 2))


def test_plans_in_rt1_units() -> None:
    goal = torch.tensor([[0.2, -0.1, 0.15, 0.0, 0.3, -0.2, 1.0]])
    plan = CEM(PointMass(RT1_ACTIONS), Effort(goal, price=0.1), iterations=30).plan(start(1, 7))
    RT1_ACTIONS.check(plan.actions_BHA.numpy(), "plan")
    assert (plan.actions_BHA.sum(dim=1) - goal).abs().max() < 0.06


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 0, "topk": 0}, "candidates=0"),
        ({"iterations": 0}, "iterations=0"),
        ({"horizon": 0}, "horizon=0"),
        ({"topk": 65}, "topk=65 of candidates=64"),
        ({"max_seconds": 0.0}, "max_seconds=0.0"),
        ({"initial_std": 0.0}, "initial_std=0.0"),
        ({"min_std": -1.0}, "min_std=-1.0"),
        ({"proposals": 3}, "propose=world_model.propose"),
        ({"propose": draw, "proposals": 65}, "proposals=65"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_outside_their_range_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CEM(PointMass(SPEC), Effort(goals(1)), **settings)


def test_seeds_and_previous_plans_must_fit_the_rows() -> None:
    cem = CEM(PointMass(SPEC), Effort(goals(2)))
    with pytest.raises(ValueError, match="2 rows"):
        cem.plan(start(2), seeds=[1])
    with pytest.raises(ValueError, match="0 or more"):
        cem.plan(start(2), seeds=[1, -1])
    with pytest.raises(ValueError, match="1 rows with 1 steps executed was given for 2 rows"):
        cem.plan(start(2), cem.plan(start(2)).row(0))
    other = CEM(PointMass(RT1_ACTIONS), Effort(torch.zeros(2, 7))).plan(start(2, 7))
    with pytest.raises(ValueError, match="row 0 has 7 action entries, the world model 2"):
        cem.plan(start(2), other)
