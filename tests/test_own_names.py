"""A solver, objectives, a task and a policy of a user's own: one module, named where ours are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from selfflow_robotics.policies.build import check_policies, make_policy, needs_world_model

from selfflow_robotics import WorldModel
from selfflow_robotics.cli.main import main
from selfflow_robotics.evaluation.results import read_results
from selfflow_robotics.flow.objectives import SelfFlow
from selfflow_robotics.planning.config import PlannerConfig, make_solver
from selfflow_robotics.planning.cost import CostConfig, make_objective
from selfflow_robotics.planning.solvers import SOLVERS
from selfflow_robotics.storage.typed_yaml import ConfigError
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ObjectiveConfig
from selfflow_robotics.training.recipe import build_objective

OWN = '''
from dataclasses import dataclass

import gymnasium
import numpy as np
import torch

from selfflow_robotics.envs.close_drawer import CloseDrawer
from selfflow_robotics.flow.objectives import FlowMatching, SelfFlow
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class Shooting(Search):
    """Random actions everywhere, once."""

    topk: int = 1

    def sample(self, run):
        return run.noise(self.candidates)

    def update(self, run, elites_BKHA, cost_BK):
        run.mean_BHA = elites_BKHA[:, 0]


class Ahead:
    """The farther the hand goes ahead, the better."""

    def __init__(self, world_model, discount=1.0):
        self.discount = discount

    def __call__(self, context, rollout):
        return -rollout.actions_BKHA[..., 0].sum(-1)


class Bright:
    """A picture to reach, by its brightness alone."""

    def __init__(self, world_model, image, discount=1.0):
        self.image = image

    def __call__(self, context, rollout):
        return rollout.latents_BKHCHW.mean((-4, -3, -2, -1))


class Aimless:
    """Made with something else."""

    def __init__(self, world_model):
        pass


class Lazy(Search):
    """Lacks what every solver says."""


class Masked(SelfFlow):
    per_frame = False

    def distance(self, early, target):
        return (early - target).abs().mean(-1)


class Still:
    name = "still"

    def reset(self, rows, seeds):
        pass

    def act(self, observations, rows):
        return np.zeros((len(rows), 7), np.float32)


class Guesses(Still):
    name = "guesses"

    def __init__(self, world_model, vector_env, more=1):
        self.world_model, self.vector_env = world_model, vector_env


class Namesake(Still):
    name = "zero"


class Asks(Still):
    def __init__(self, strength):
        pass


class Broken(Still):
    def __init__(self, world_model):
        world_model.nothing_like_it


class Deaf:
    name = "deaf"

    def reset(self, rows, seeds):
        pass


class Quick(CloseDrawer):
    pass


gymnasium.register("mine/Quick-v0", entry_point=Quick, max_episode_steps=2)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "mine_own.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("mine_own", None)
    gymnasium.registry.pop("mine/Quick-v0", None)


@pytest.fixture(scope="module")
def world_model() -> WorldModel:
    return WorldModel.from_pretrained("tabletop-small")


def seen(world_model: WorldModel) -> object:
    frames = np.zeros((1, 1, *world_model.image_size, 3), np.uint8)
    return world_model.observe(frames, np.zeros((1, 0, 7), np.float32), "close top drawer")


def test_a_solver_and_an_objective_plan(
    folder: Path, world_model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOLVERS, "shooting", "mine_own:Shooting")
    monkeypatch.syspath_prepend(folder)
    for solver in ("shooting", "mine_own:Shooting"):
        config = PlannerConfig(solver, "mine_own:Ahead", candidates=16, horizon=1, discount=0.5)
        search = make_solver(world_model, config)
        assert type(search).__name__ == "Shooting" and search.topk == 3
        assert search.objective.discount == 0.5  # type: ignore[attr-defined]
        plan = search.plan(seen(world_model), seeds=[0])
        assert plan.actions_BHA[0, 0, 0] > 0.02 and plan.cost_B < 0
    with pytest.raises(ValueError, match=r"planner\.min_std=0\.3 means nothing to .*mine_own"):
        make_solver(world_model, PlannerConfig("mine_own:Shooting", min_std=0.3))
    with pytest.raises(ConfigError, match="is no class derived from Search"):
        make_solver(world_model, PlannerConfig("mine_own:Still"))
    with pytest.raises(ConfigError, match="mine_own:Lazy lacks sample and update"):
        make_solver(world_model, PlannerConfig("mine_own:Lazy"))
    with pytest.raises(ConfigError, match=r"Aimless .* unexpected .*'discount'"):
        make_solver(world_model, PlannerConfig(objective="mine_own:Aimless"))


def test_an_objective_of_a_picture_plans(folder: Path, world_model: WorldModel) -> None:
    from PIL import Image

    Image.fromarray(np.full((30, 40, 3), 200, np.uint8)).save("goal.png")
    cost, goal = CostConfig("mine_own:Bright"), Path("goal.png")
    objective = make_objective(world_model, "", cost, goal)
    assert objective.image.shape == (*world_model.image_size, 3)  # type: ignore[attr-defined]
    solver = make_solver(world_model, PlannerConfig(candidates=4, horizon=1), objective)
    assert solver.plan(seen(world_model)).cost_B.isfinite()
    with pytest.raises(ValueError, match=r"planner\.objective=mine_own:Ahead and a goal"):
        make_objective(world_model, "", cost, goal, PlannerConfig(objective="mine_own:Ahead"))


def test_a_training_objective_is_built_and_noised_as_it_says(folder: Path) -> None:
    config = ObjectiveConfig("mine_own:Masked", mask_ratio=0.3, action_weight=0.5)
    objective = build_objective(config, 2, 1, Patches(2))
    assert type(objective).__name__ == "Masked" and isinstance(objective, SelfFlow)
    assert objective.noising.mask_ratio == 0.3 and objective.weights["action"] == 0.5
    assert float(objective.distance(torch.ones(1, 1, 1, 4), torch.zeros(1, 1, 1, 4))) == 1.0
    with pytest.raises(ConfigError, match="is no class derived from FlowMatching"):
        build_objective(ObjectiveConfig("mine_own:Still"), 2, 1, Patches(2))


def test_a_policy_that_cannot_be_made_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"mine_own:Broken fails .* AttributeError: .*nothing_li"):
        make_policy("mine_own:Broken", object(), object())  # type: ignore[arg-type]


def test_a_policy_is_given_what_it_asks_for(folder: Path) -> None:
    assert not needs_world_model(("mine_own:Still", "zero"))
    assert needs_world_model(("mine_own:Guesses",))
    model, envs = object(), object()
    made = make_policy("mine_own:Guesses", model, envs)  # type: ignore[arg-type]
    assert (made.world_model, made.vector_env) == (model, envs)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="needs a world model"):
        make_policy("mine_own:Guesses", None, envs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["zero", "mine_own:Namesake"], "zero and mine_own:Namesake are both called zero"),
        (["mine_own:Asks"], "asks for strength when it is made"),
        (["mine_own:Deaf"], "is no policy: it has no act;"),
        (["mine_own:Ahead"], "is no policy: it has no reset and no act and no name"),
        (["mine_own:absent"], "has no class 'absent'"),
        (["mine_absent:Still"], "there is no module mine_absent"),
    ],
)
def test_what_is_no_policy_is_said(folder: Path, names: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_policies(names)


def test_they_play_from_the_command_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "policies=[mine_own:Still,planner]", "imports=mine_own", "episodes=1"]
    words += ["tasks=mine/Quick-v0", "planner.solver=mine_own:Shooting", "image_size=[64,80]"]
    words += ["planner.objective=mine_own:Ahead", "planner.horizon=1", "out=out", "videos=0"]
    assert main(words) == 0, capfd.readouterr().err
    results = read_results(Path("out/results.json"))
    assert [task.policy for task in results.tasks] == ["still", "planner"]
    assert all(task.episodes[0].steps == 2 for task in results.tasks)
    assert results.settings.options["planner.solver"] == "mine_own:Shooting"
