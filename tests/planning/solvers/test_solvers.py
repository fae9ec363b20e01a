"""What every solver promises, in worlds whose best plans are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from selfflow_robotics.planning import (
    CEM,
    ICEM,
    MPPI,
    Adam,
    BlockCEM,
    PolicyGuided,
    PredictiveSampling,
    RowGenerators,
)
from selfflow_robotics.planning.search import Search

from ..point_mass import Effort, PointMass, spec, start

SPEC = spec(q01=(-0.8, -0.5), q99=(0.6, 0.9))
H = 4


def draw(context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators) -> Tensor:
    """A policy: small actions."""
    return torch.stack([torch.randn(candidates, horizon, 2, generator=g) / 3 for g in generator])


def vary(context: Any, actions_BKHA: Tensor, time: float, /, *, generator: RowGenerators) -> Tensor:
    """Its variations of given actions: the further, the higher the time."""
    shape = actions_BKHA.shape[1:]
    noise = torch.stack([torch.randn(shape, generator=g) for g in generator])
    return actions_BKHA + 0.3 * time * noise


def cem(model: Any, objective: Any, **how: Any) -> Search:
    return CEM(model, objective, **{"topk": 6, **how})


def block_cem(model: Any, objective: Any, **how: Any) -> Search:
    return BlockCEM(
        model, objective, **{"topk": 6, "horizon": H, "hold": 2, "iterations": 4, **how}
    )


def icem(model: Any, objective: Any, **how: Any) -> Search:
    return ICEM(model, objective, **{"topk": 6, **how})


def mppi(model: Any, objective: Any, **how: Any) -> Search:
    return MPPI(model, objective, **{"topk": 6, **how})


def predictive(model: Any, objective: Any, **how: Any) -> Search:
    return PredictiveSampling(model, objective, **{"iterations": 4, **how})


def adam(model: Any, objective: Any, **how: Any) -> Search:
    return Adam(model, objective, **{"candidates": 4, "iterations": 40, **how})


def policy_guided(model: Any, objective: Any, **how: Any) -> Search:
    settings = {"candidates": 32, "iterations": 6, "topk": 4, "propose": draw, "refine": vary}
    return PolicyGuided(model, objective, **{**settings, **how})


Make = Callable[..., Search]
EVERY = pytest.mark.parametrize(
    "make",
    [cem, block_cem, icem, mppi, predictive, adam, policy_guided],
    ids=lambda make: make.__name__,
)


def goals(batch: int) -> Tensor:
    return torch.randn(batch, 2, generator=torch.Generator().manual_seed(3))


@EVERY
def test_comes_near_the_analytic_optimum(make: Make) -> None:
    goal = goals(6)
    plan = make(PointMass(SPEC), Effort(goal)).plan(start(6))
    best = goal.square().sum(1) / (H + 1)  # of actions goal / (H + 1)
    assert (plan.cost_B >= best - 1e-4).all()
    gap = ((plan.cost_B - best) / (plan.initial_cost_B - best).clamp(min=1e-3)).mean()
    assert gap < {"adam": 0.01, "cem": 0.1, "block_cem": 0.1, "icem": 0.1, "mppi": 0.1}.get(
        make.__name__, 0.7
    )


@EVERY
def test_the_cost_is_that_of_the_actions_and_never_above_the_start(make: Make) -> None:
    model, objective = PointMass(SPEC), Effort(goals(5))
    plan = make(model, objective).plan(start(5), seeds=range(5))
    true = objective(start(5), model.rollout(start(5), plan.actions_BHA[:, None]))
    torch.testing.assert_close(plan.cost_B, true[:, 0])
    assert (plan.cost_B <= plan.initial_cost_B).all()


@EVERY
def test_an_optimum_outside_the_bounds_is_sought_at_the_bound(make: Make) -> None:
    far = torch.tensor([[9.0, -9.0]]).expand(2, -1)
    model = PointMass(SPEC)
    solver = make(model, Effort(far, price=0.0), seed=1)
    plan = solver.plan(start(2))
    low, high = torch.tensor(SPEC.q01), torch.tensor(SPEC.q99)
    for actions in (*model.asked, plan.actions_BHA):
        actions = actions.detach()
        assert ((actions >= low - 1e-6) & (actions <= high + 1e-6)).all()
    assert plan.mean_BHA.abs().max() <= 1 and plan.elites_BKHA.abs().max() <= 1
    near = (plan.actions_BHA - torch.tensor([0.6, -0.5])).abs().mean()
    assert near < (0.35 if make in (predictive, policy_guided) else 0.1)


@EVERY
def test_eight_rows_equal_eight_single_plans(make: Make) -> None:
    goal, model = goals(8), PointMass(SPEC)

    def noisy(goal: Tensor) -> Any:
        return lambda context, path: Effort(goal)(context, path) + 0.1 * path.noise_BK

    how = {"samples": 2, "pessimism": 0.5, "propose": draw}
    seeds = list(range(10, 18))
    both = make(model, noisy(goal), **how).plan(start(8), seeds=seeds)
    previous = [None if row % 3 == 0 else both.row(row) for row in range(8)]
    again = make(model, noisy(goal), **how).plan(start(8), previous, seeds=seeds)
    for row in range(8):
        solver = make(model, noisy(goal[row : row + 1]), **how)
        single = solver.plan(start(1), seeds=[seeds[row]])
        torch.testing.assert_close(single.actions_BHA[0], both.actions_BHA[row], atol=1e-5, rtol=0)
        single = solver.plan(start(1), [previous[row]], seeds=[seeds[row]])
        torch.testing.assert_close(single.actions_BHA[0], again.actions_BHA[row], atol=1e-5, rtol=0)


@EVERY
def test_a_warm_start_costs_no_more_than_what_was_left_of_the_last_plan(make: Make) -> None:
    goal, model = goals(4), PointMass(SPEC)
    plan = make(model, Effort(goal)).plan(start(4))
    warm = make(model, Effort(goal)).plan(start(4), plan, executed=0)
    assert (warm.cost_B <= plan.cost_B + 0.05 * plan.initial_cost_B).all()
    assert (warm.initial_cost_B <= plan.initial_cost_B).all()


@EVERY
@pytest.mark.parametrize("candidates", [1, 2, 8])
def test_the_start_keeps_its_place_where_proposals_ask_for_all(make: Make, candidates: int) -> None:
    goal, model = goals(3), PointMass(SPEC)
    how = {"candidates": candidates, "proposals": candidates, "propose": draw, "min_gain": 1e9}
    if make not in (predictive, adam):
        how["topk"] = 1
    solver = make(model, Effort(goal), **how)
    last = make(PointMass(SPEC), Effort(goal)).plan(start(3))
    for previous in (None, last, [None, last.row(1), None]):
        model.asked.clear()
        plan = solver.plan(start(3), previous, executed=1)
        asked_BKHA = torch.cat(model.asked, dim=1)
        drawn_BHA = asked_BKHA[:, 1:candidates].mean(dim=1) if candidates > 1 else None
        for row in range(3):
            if previous is not None and (previous is last or row == 1):
                left = SPEC.denormalize(last.mean_BHA)[row, 1:]
                torch.testing.assert_close(asked_BKHA[row, 0, :-1], left)
            elif drawn_BHA is not None and make not in (icem, block_cem):
                torch.testing.assert_close(asked_BKHA[row, 0], drawn_BHA[row])
        true_BK = Effort(goal)(start(3), model.rollout(start(3), asked_BKHA[:, :1]))
        torch.testing.assert_close(plan.initial_cost_B, true_BK[:, 0])
        torch.testing.assert_close(plan.actions_BHA, asked_BKHA[:, 0])  # nothing gains so much


def test_icem_keeps_the_last_elites_where_proposals_ask_for_all() -> None:
    goal, model = goals(2), PointMass(SPEC)
    last = icem(PointMass(SPEC), Effort(goal)).plan(start(2))
    kept = SPEC.denormalize(last.elites_BKHA)
    solver = icem(model, Effort(goal), candidates=12, proposals=12, propose=draw)
    solver.plan(start(2), last, executed=2)
    first = model.asked[0]
    assert first.shape[1] == 12
    torch.testing.assert_close(first[:, 12 - kept.shape[1] :, :2], kept[:, :, 2:])


@EVERY
def test_one_candidate_and_horizon_one(make: Make) -> None:
    settings = {"candidates": 1, "horizon": 1, "topk": 1}
    if make in (predictive, adam):
        settings.pop("topk")
    plan = make(PointMass(SPEC), Effort(goals(2)), **settings).plan(start(2))
    assert plan.actions_BHA.shape == (2, 1, 2)
    assert plan.std_BHA.isfinite().all()
    assert (plan.cost_B <= plan.initial_cost_B).all()


@EVERY
@pytest.mark.parametrize("hard", [False, True])
def test_zero_width_bounds_leave_one_action(make: Make, hard: bool) -> None:
    fixed = spec(q01=(0.25, -0.4), q99=(0.25, 0.4))
    if hard:  # the environment allows one value of a range that was seen in data
        fixed = spec(q01=(-0.5, -0.4), q99=(0.75, 0.4), low=(0.25, -1.0), high=(0.25, 1.0))
    model = PointMass(fixed)
    plan = make(model, Effort(goals(2))).plan(start(2))
    for actions in (*model.asked, plan.actions_BHA):
        torch.testing.assert_close(actions[..., 0], torch.full(actions.shape[:-1], 0.25))
    assert plan.actions_BHA[..., 1].abs().max() > 0


@EVERY
@pytest.mark.parametrize("worst", [float("nan"), float("inf"), -float("inf")])
def test_costs_that_are_not_finite_are_never_chosen(make: Make, worst: float) -> None:
    def objective(context: Any, path: Any) -> Tensor:
        cost = Effort(torch.tensor([[2.0, 2.0]]), 0.01)(context, path)
        return torch.where(path.position_BKHA[:, :, -1, 0] > 0.5, worst, cost)

    plan = make(PointMass(SPEC), objective).plan(start(2))
    assert plan.cost_B.isfinite().all() and plan.actions_BHA.isfinite().all()
    assert (plan.actions_BHA.sum(dim=1)[:, 0] <= 0.5 + 1e-5).all()
    assert (plan.cost_B < plan.initial_cost_B).all()


@EVERY
def test_a_row_without_any_finite_cost_is_an_error_that_names_it(make: Make) -> None:
    def objective(context: Any, path: Any) -> Tensor:
        bad = torch.tensor([[0.0], [float("nan")], [0.0]])
        return Effort(goals(3))(context, path) + bad

    with pytest.raises(ValueError, match=r"none of the .* candidates of row 1 has a finite cost"):
        make(PointMass(SPEC), objective).plan(start(3))


@EVERY
def test_what_is_no_tensor_of_real_numbers_is_a_sentence(make: Make) -> None:
    sound, nothing = Effort(goals(2)), lambda *_, **__: None
    with pytest.raises(ValueError, match="the objective returned NoneType"):
        make(PointMass(SPEC), nothing).plan(start(2))
    with pytest.raises(ValueError, match="the objective returned ndarray"):
        make(PointMass(SPEC), lambda _, path: sound(_, path).detach().numpy()).plan(start(2))
    with pytest.raises(ValueError, match="propose returned NoneType"):
        make(PointMass(SPEC), sound, propose=nothing).plan(start(2))


@EVERY
def test_odd_settings_seeds_and_plans_are_sentences(make: Make) -> None:
    model, sound = PointMass(SPEC), Effort(goals(2))
    for key, value in (("candidates", 2.5), ("horizon", "4"), ("seed", 0.5), ("samples", 1.5)):
        with pytest.raises(ValueError, match=f"{key}={value!r}; give a whole number"):
            make(model, sound, **{key: value})
    if make is not policy_guided:
        with pytest.raises(ValueError, match="both finite"):
            make(model, sound, initial_std=float("inf"))
    with pytest.raises(ValueError, match="whole number each"):
        make(model, sound).plan(start(2), seeds=[0.5, 1])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="no rows"):
        make(model, sound).plan(start(0))
    plan = make(model, sound).plan(start(2))
    lost = dataclasses.replace(plan, mean_BHA=plan.mean_BHA * float("nan"))
    with pytest.raises(ValueError, match="previous plan of row 1 is not finite"):
        make(model, sound).plan(start(2), [plan.row(0), lost.row(1)])


@EVERY
def test_counts_passes_and_times_itself(make: Make) -> None:
    model = PointMass(SPEC, seconds=0.005)
    plan = make(model, Effort(goals(2))).plan(start(2))
    assert plan.passes == sum(actions.shape[:3].numel() for actions in model.asked)
    assert 0 < plan.solver_seconds <= plan.seconds - 0.005 * len(model.asked)


@EVERY
@pytest.mark.parametrize("limit", [{"max_seconds": 0}, {"max_passes": -1}])
def test_an_empty_budget_is_an_error(make: Make, limit: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a budget that allows nothing"):
        make(PointMass(SPEC), Effort(goals(1)), **limit)


@EVERY
def test_a_budget_of_passes_is_kept_in_every_row(make: Make) -> None:
    limited = make(PointMass(SPEC), Effort(goals(2)), iterations=60, max_passes=300)
    both = limited.plan(start(2), seeds=[0, 1])
    assert 270 <= both.passes / 2 <= 300
    limited = make(PointMass(SPEC), Effort(goals(2)[1:]), iterations=60, max_passes=300)
    alone = limited.plan(start(1), seeds=[1])
    torch.testing.assert_close(alone.actions_BHA[0], both.actions_BHA[1], atol=1e-5, rtol=0)


boxes = st.lists(
    st.tuples(st.floats(-2, 2, width=32), st.floats(-2, 2, width=32)).filter(
        lambda ends: not 0 < abs(ends[0] - ends[1]) < 1e-30  # which single precision cannot hold
    ),
    min_size=2,
    max_size=2,
)


@EVERY
@settings(max_examples=15, deadline=None)
@given(boxes=boxes, batch=st.integers(1, 3), horizon=st.integers(1, 4), seed=st.integers(0, 2**40))
def test_never_asks_or_returns_an_action_outside_the_bounds(
    make: Make, boxes: list[tuple[float, float]], batch: int, horizon: int, seed: int
) -> None:
    q01, q99 = zip(*(sorted(box) for box in boxes), strict=True)
    model = PointMass(spec(q01, q99))
    solver = make(model, Effort(torch.full((batch, 2), 1.7)), candidates=9, horizon=horizon)
    solver.iterations = 3
    plan = solver.plan(start(batch), seeds=[seed] * batch)
    low = torch.tensor(q01).clamp(-1, 1) - 1e-6
    high = torch.tensor(q99).clamp(-1, 1) + 1e-6
    for actions in (*model.asked, plan.actions_BHA):
        assert ((actions >= low) & (actions <= high)).all()
