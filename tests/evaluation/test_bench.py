"""Comparisons fixed beforehand: what they set, and what goes before them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from selfflow_robotics.envs.names import task_ids
from selfflow_robotics.policies.build import check_policies

from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.evaluate import Config
from selfflow_robotics.cli.main import main
from selfflow_robotics.evaluation.bench import BENCHES, SEED, Bench, benched
from selfflow_robotics.evaluation.config import Comparison
from selfflow_robotics.planning.config import PlannerConfig


@pytest.mark.parametrize("name", get_args(Bench))
def test_a_bench_names_what_can_be_played_within_its_budget(name: str) -> None:
    config = benched(compose("evaluate", Config, [f"bench={name}", "episodes=3"]))
    check_policies(config.policies, task_ids(config.tasks))
    assert {"planner", "random-choice", "shuffled", "random", "zero"} < set(config.policies)
    assert (config.seed, config.episodes, config.num_envs) == (SEED, 3, 1)
    assert config.planner.objective == "critic" and config.planner.max_seconds == 2.0
    assert (config.planner.start == "nothing") == (name == "no_prior") == (config.prior == "")
    assert (config.places == "shifted") == (name == "shifted")


def test_the_seeds_of_a_bench_are_far_from_all_others() -> None:
    assert Comparison().seed + 1_000_000 < SEED
    assert set(BENCHES) == set(get_args(Bench))


def test_what_is_given_goes_before_the_bench() -> None:
    words = ["bench=prior_5", "tasks=CloseDrawer", "seed=7", "planner.candidates=16"]
    config = benched(compose("evaluate", Config, words))
    assert (config.tasks, config.seed, config.prior) == (("CloseDrawer",), 7, "5")
    assert (config.planner.candidates, config.planner.solver) == (16, "block-cem")
    plain = compose("evaluate", Config, [])
    assert benched(plain) == plain and plain.planner == PlannerConfig()


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
