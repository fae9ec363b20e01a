"""Comparisons fixed beforehand: what they set, and what goes before them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from selfflow_robotics.envs.names import task_ids
from selfflow_robotics.policies.build import check_policies

from selfflow_robotics import WorldModel
from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.evaluate import Config
from selfflow_robotics.cli.main import main
from selfflow_robotics.cli.sweep import sweep
from selfflow_robotics.evaluation.bench import BENCHES, SEED, Bench, benched
from selfflow_robotics.evaluation.config import Comparison
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.tokenizers.autoencoder import Autoencoder
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model


@pytest.mark.parametrize("name", get_args(Bench))
def test_a_bench_names_what_can_be_played_within_its_budget(name: str) -> None:
    config = compose("evaluate", Config, [f"bench={name}", "episodes=3"])
    check_policies(config.policies, task_ids(config.tasks))
    assert {"planner", "random-choice", "shuffled", "random", "zero"} < set(config.policies)
    assert (config.seed, config.episodes, config.num_envs) == (SEED, 3, 1)
    assert config.planner.objective == "critic" and config.planner.max_seconds == 2.0
    assert (config.planner.start == "nothing") == (name == "no_prior")
    assert (config.prior == "") == (name in ("no_prior", "goals"))
    assert (config.places == "shifted") == (name == "shifted")


def test_the_seeds_of_a_bench_are_far_from_all_others() -> None:
    assert Comparison().seed + 1_000_000 < SEED
    assert set(BENCHES) == set(get_args(Bench))


def test_what_is_given_goes_before_the_bench() -> None:
    words = ["bench=prior_5", "tasks=CloseDrawer", "seed=7", "planner.candidates=16"]
    usual = ["num_envs=10", "planner.iterations=1", "planner.doubt=0"]  # as without a bench
    config = compose("evaluate", Config, [*words, *usual])
    assert (config.tasks, config.seed, config.prior) == (("CloseDrawer",), 7, "5")
    assert (config.planner.candidates, config.planner.solver) == (16, None)
    assert (config.num_envs, config.planner.iterations, config.planner.doubt) == (10, 1, 0.0)
    plain = compose("evaluate", Config, [])
    assert benched(plain) == plain and plain.planner == PlannerConfig()


def test_a_bench_is_swept_with_what_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[tuple[int | None, str | None, int | None]] = []

    def run(config: Config, name: str) -> int:
        planner = config.planner
        found.append((planner.candidates, planner.start, planner.iterations))
        return 0

    words = ["bench=no_prior,prior_5", "planner.candidates=8,16", "planner.iterations=1"]
    assert sweep("evaluate", Config, run, words) == 0
    assert found == [(n, start, 1) for start in ("nothing", "prior") for n in (8, 16)]


def test_a_weak_prior_that_lacks_is_asked_for_before_anything_is_played(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench=prior_5", "policies=[prior]", "episodes=1", f"out={tmp_path / 'out'}"]
    assert main(["evaluate", f"world_model={model}", *words]) == 1
    said = capsys.readouterr().err
    assert f"selfflow prior world_model={model} share=0.05 data=FOLDER" in said
    assert not (tmp_path / "out").exists()


def test_the_rows_of_a_bench_are_compared_on_the_same_seeds(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench=no_prior", "tasks=[CloseDrawer]", "policies=[random,zero]", "episodes=2"]
    out = f"out={tmp_path}"
    assert main(["evaluate", f"world_model={model}", *words, out, "threads=1", "videos=0"]) == 0
    assert "random - zero: " in capsys.readouterr().out
    results = json.loads((tmp_path / "results.json").read_text())
    (pair,) = results["paired"]
    assert (pair["policy"], pair["against"], pair["seeds"]) == ("random", "zero", 2)
    assert pair["low"] <= pair["difference"] <= pair["high"] and pair["p"] == 1.0
    assert results["settings"]["seeds"] == [SEED, SEED + 1]
    assert results["settings"]["options"]["bench"] == "no_prior"


def test_goals_that_a_model_cannot_tell_are_named_before_anything_is_played(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sees = WorldModel.from_pretrained(str(model))
    spec, vocabulary = sees.step_spec, sees.config.vocabulary
    tiny = ModelConfig(preset="tiny")
    unfelt = build_world_model(tiny, Autoencoder(), (64, 80), spec, None, vocabulary)
    unfelt.save_pretrained(str(tmp_path / "unfelt"))
    out = tmp_path / "out"

    def refused(name: Path, *words: str) -> str:
        given = [f"world_model={name}", "policies=[planner]", "episodes=1", f"out={out}"]
        assert main(["evaluate", *given, "threads=1", *words]) == 1
        assert not out.exists()
        return capsys.readouterr().err

    assert "needs a world model that has one; fit one to it" in refused(model, "bench=goals")
    said = refused(tmp_path / "unfelt", "tasks=[PickCokeCanReach,PickCokeCanAround]")
    assert "task selfflow/PickCokeCanAround-v0: where the tool is, x, y and z, is read" in said
    own = f"planner.objective={__name__}:Own"
    said = refused(model, own, "tasks=[CloseDrawerAbove,PickCokeCanReach]")
    assert (
        "task selfflow/PickCokeCanReach-v0: " in said and "choose one of critic, progress" in said
    )


class Own:
    """An objective of a user's own, which knows nothing of pictures."""

    def __init__(self, world_model: WorldModel, discount: float) -> None: ...

    def __call__(self, context: Any, rollout: Any) -> Any: ...
