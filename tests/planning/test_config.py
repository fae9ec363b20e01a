"""The planner as users set it: every solver can be chosen, and no setting is dropped in silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from selfflow_robotics.policies.build import make_policy
from tiny_world import cells_model
from tiny_world import world_model as tiny_model

from selfflow_robotics import WorldModel
from selfflow_robotics.planning import (
    CEM,
    ICEM,
    MPPI,
    Adam,
    BlockCEM,
    Mixture,
    PolicyGuided,
    PredictiveSampling,
    Progress,
)
from selfflow_robotics.planning.config import (
    BY_CRITIC,
    BY_PROGRESS,
    PlannerConfig,
    make_solver,
    suited,
)
from selfflow_robotics.planning.more_steps import Denoising
from selfflow_robotics.planning.solvers import SOLVERS


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return WorldModel.from_pretrained("tabletop-small")


def test_every_solver_can_be_chosen(world_model: WorldModel) -> None:
    kinds = [CEM, BlockCEM, ICEM, MPPI, PredictiveSampling, Adam, PolicyGuided]
    assert len(SOLVERS) == len(kinds)
    for name, kind in zip(SOLVERS, kinds, strict=True):
        iterations = 1 if name == "policy-guided" else 2
        solver = make_solver(world_model, PlannerConfig(solver=name, iterations=iterations))
        assert type(solver) is kind
        assert (solver.candidates, solver.horizon, solver.iterations) == (8, 3, iterations)


def test_the_default_searches_around_the_priors_guess(world_model: WorldModel) -> None:
    solver = make_solver(world_model, PlannerConfig())
    assert isinstance(solver, CEM)
    assert solver.world_model is world_model and solver.propose == world_model.guess
    assert (solver.proposals, solver.iterations, solver.topk) == (1, 1, 3)
    assert (solver.initial_std, solver.min_std, solver.min_gain) == (0.1, 0.02, 0.05)
    assert isinstance(solver.objective, Progress)


def test_a_start_from_nothing_never_asks_the_prior_or_the_joint_use(
    world_model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = world_model.observe(
        np.zeros((1, 1, 64, 80, 3), np.uint8), np.zeros((1, 0, 7), np.float32), "pick coke can"
    )
    for name in ("guess", "propose", "refine"):
        monkeypatch.setattr(world_model, name, None)  # to call it would be an error
    config = PlannerConfig(solver="block-cem", start="nothing", candidates=3, topk=2, hold=2)
    solver = make_solver(world_model, config)
    assert isinstance(solver, BlockCEM) and solver.hold == 2
    assert solver.propose is None and solver.plan(context).actions_BHA.shape == (1, 3, 7)


def test_a_mixed_start_draws_a_quarter_of_the_candidates(world_model: WorldModel) -> None:
    solver = make_solver(world_model, PlannerConfig(solver="block-cem", start="mixed"))
    assert solver.propose == Mixture(world_model.guess, (world_model.propose,))
    assert (solver.candidates, solver.drawn) == (8, 2)
    solver = make_solver(world_model, PlannerConfig(start="mixed", proposals=5))
    assert solver.drawn == 5


def test_samples_pessimism_steps_and_budgets_reach_the_solver(world_model: WorldModel) -> None:
    config = PlannerConfig(
        solver="mppi", samples=3, pessimism=0.5, steps=2, max_seconds=1.5, max_passes=900
    )
    solver = make_solver(world_model, config)
    assert (solver.samples, solver.pessimism) == (3, 0.5)
    assert (solver.max_seconds, solver.max_passes) == (1.5, 900)
    assert isinstance(solver.world_model, Denoising) and solver.world_model.steps == 2


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PlannerConfig(solver="adam", iterations=9, topk=2), "planner.topk=2 means nothing"),
        (PlannerConfig(hold=2), "planner.hold=2 means nothing to planner.solver=cem"),
        (PlannerConfig(solver="policy-guided", start="nothing"), "planner.start=nothing means"),
        (PlannerConfig(solver="policy-guided", start="mixed"), "planner.start=mixed means nothing"),
        (PlannerConfig(solver="predictive", min_std=0.1), "planner.min_std=0.1 means nothing"),
        (PlannerConfig(solver="policy-guided", initial_std=0.3), "planner.initial_std=0.3"),
        (PlannerConfig(solver="adam"), "iterations=1, which descends no step"),
        (PlannerConfig(pessimism=1.0), "no spread to be pessimistic about"),
        (PlannerConfig(max_seconds=0.0), "a budget that allows nothing"),
    ],
)
def test_settings_that_mean_nothing_are_errors(
    world_model: WorldModel, config: PlannerConfig, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_solver(world_model, config)


def test_a_model_that_only_imagines_is_not_asked_for_actions() -> None:
    model = cells_model()
    for words in ({"start": "joint"}, {"start": "mixed"}, {"start": "prior"}):
        config = PlannerConfig(solver="block-cem", **words)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"planner.start={words['start']} .* only imagines"):
            make_solver(model, config, lambda context, rollout: rollout)
    with pytest.raises(ValueError, match="policy-guided draws actions"):
        make_solver(model, PlannerConfig("policy-guided"), lambda context, rollout: rollout)
    with pytest.raises(ValueError, match="policy-guided draws actions"):
        make_policy("planner", model, None, PlannerConfig("policy-guided"))


def test_doubt_of_an_objective_without_heads_is_refused() -> None:
    with pytest.raises(ValueError, match=r"planner.doubt=1.0 means nothing to .*=progress"):
        make_solver(cells_model(), PlannerConfig(doubt=1.0, start="nothing"))


def test_what_is_left_open_suits_the_model() -> None:
    critical, plain = tiny_model(critic=True), tiny_model()
    assert suited(PlannerConfig(), plain) == replace(BY_PROGRESS, start="prior", hold=None)
    assert suited(PlannerConfig(), critical) == replace(BY_CRITIC, start="prior")
    assert suited(BY_CRITIC, plain).objective == "critic"
    narrow = suited(PlannerConfig(candidates=2, horizon=1), critical)
    assert (narrow.topk, narrow.hold, narrow.receding_horizon) == (2, 1, 1)
    assert make_solver(critical, PlannerConfig("icem", start="nothing")).candidates == 64
    for given in (
        replace(BY_PROGRESS, solver="block-cem", hold=1),
        PlannerConfig(min_gain=0.05, doubt=0.0),
    ):
        for name, value in vars(suited(given, critical)).items():
            assert getattr(given, name) in (None, value), name
