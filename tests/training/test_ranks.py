"""Training on several ranks, killed, and resumed on another number of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from tiny_encoder import write_encoder
from torch import Tensor
from training_run import build

from selfflow_robotics.training.config import ObjectiveConfig
from selfflow_robotics.training.ranks import Ranks

PROGRAM = Path(__file__).parents[1] / "training_run.py"
OBJECTIVES = get_args(get_type_hints(ObjectiveConfig)["name"])


def launch(ranks: int, *settings: dict[str, Any], fails: bool = False) -> str:
    """Run the program on that many ranks, with torchrun if they are several; what it says."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    command = [sys.executable, *(launcher if ranks > 1 else []), str(PROGRAM)]
    done = subprocess.run(
        [*command, json.dumps(settings)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert (done.returncode != 0) == fails, done.stderr[-3000:]
    return done.stderr


def run(folder: Path, steps: int, objective: str = "self_flow", **more: Any) -> dict[str, Any]:
    faults = {name: more.pop(name, None) for name in ("kill", "poison")}
    text = more.pop("text", 0)
    trainer = {"steps": steps, "save_every": 20, **more}
    return {
        "folder": str(folder),
        "objective": objective,
        "trainer": trainer,
        "text": text,
        **faults,
    }


def lines(folder: Path, rank: int = 0) -> dict[int, dict[str, Any]]:
    """What happened at each step; of steps done twice, the last time."""
    text = (folder / f"rank-{rank}.jsonl").read_text()
    return {line["step"]: line for line in map(json.loads, text.splitlines())}


def state(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(folder / "state.pt", weights_only=True)
    return found


def assert_same_state(one: Path, other: Path) -> None:
    a, b = state(one), state(other)
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


LOSSES = ("loss", "video", "proprioception", "action", "progress", "steps", "representation")


def assert_close_losses(one: Path, other: Path, steps: range) -> None:
    a, b = lines(one), lines(other)
    for step in steps:
        for name in LOSSES:
            if name in a[step]:
                assert b[step][name] == pytest.approx(a[step][name], rel=1e-5, abs=1e-5), (
                    step,
                    name,
                )


def test_two_ranks_give_the_losses_of_one(tmp_path: Path) -> None:
    settings = run(tmp_path / "1", 5)
    build(settings, Ranks()).fit()
    launch(2, run(tmp_path / "2", 5, accumulate=2))
    assert_close_losses(tmp_path / "1", tmp_path / "2", range(5))


def test_two_ranks_learn_the_same_steps_as_one_also_where_one_of_them_has_none(
    tmp_path: Path,
) -> None:
    settings = run(tmp_path / "1", 5) | {"shortcut": 0.25}
    build(settings, Ranks()).fit()
    launch(2, run(tmp_path / "2", 5, accumulate=2) | {"shortcut": 0.25})
    assert_close_losses(tmp_path / "1", tmp_path / "2", range(5))


@pytest.mark.slow
def test_two_ranks_that_are_told_texts_give_the_losses_of_one(tmp_path: Path) -> None:
    for ranks in (1, 2):
        launch(ranks, run(tmp_path / str(ranks), 20, text=6))
    assert_close_losses(tmp_path / "1", tmp_path / "2", range(20))
    found, expected = state(tmp_path / "2"), state(tmp_path / "1")
    name = next(name for name in expected if name.endswith("conditioning.text.weight"))
    assert expected[name].any()
    torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_ranks_give_the_losses_of_one_for_every_objective(
    tmp_path: Path, objective: str
) -> None:
    encoder = {}
    if objective == "repa":
        encoder = {"encoder": str(write_encoder(tmp_path / "encoder"))}
    runs = {f"{objective}/{parts}": (objective, parts) for parts in (1, 2)}
    for ranks in (1, 2):
        launch(
            ranks,
            *(
                run(tmp_path / str(ranks) / folder, 20, name, accumulate=parts) | encoder
                for folder, (name, parts) in runs.items()
            ),
        )
    for folder, (name, _) in runs.items():
        alone, two = tmp_path / "1" / folder, tmp_path / "2" / folder
        assert_close_losses(alone, two, range(20))
        assert_close_losses(tmp_path / "1" / name / "1", two, range(20))
        together = zip(lines(two, 0).values(), lines(two, 1).values(), strict=True)
        for step, (first, second) in enumerate(together):
            assert first["episodes"] + second["episodes"] == lines(alone)[step]["episodes"]
        found, expected = state(two), state(alone)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, atol=1e-4, rtol=1e-3, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, ranks: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    launch(ranks, run(whole, 40))
    launch(ranks, run(broken, 40, kill=27), fails=True)
    assert max(lines(broken)) == 26
    launch(ranks, run(broken, 40))
    for rank in range(ranks):
        assert lines(whole, rank) == lines(broken, rank)
        text = (broken / f"rank-{rank}.jsonl").read_text()
        assert len(text.splitlines()) == 27 + 20  # steps 20 to 26 were done twice
    assert_same_state(whole, broken)


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_resumes_on_one_and_on_four(tmp_path: Path) -> None:
    folders = {
        (ranks, steps): tmp_path / f"{ranks}/{steps}" for ranks in (1, 4) for steps in (20, 40)
    }
    made = tmp_path / "2"
    launch(2, run(made, 20))
    for folder in folders.values():
        shutil.copytree(made / "checkpoints", folder / "checkpoints")
    for ranks in (1, 4):
        launch(ranks, *(run(folders[ranks, steps], steps) for steps in (20, 40)))
        # To step 20 all there was to do was to read the state and to gather it.
        assert_same_state(made, folders[ranks, 20])
    launch(2, run(made, 40))
    for ranks in (1, 4):
        assert_close_losses(made, folders[ranks, 40], range(20, 40))


@pytest.mark.slow
def test_all_ranks_skip_what_is_not_finite_on_one(tmp_path: Path) -> None:
    poisoned = run(tmp_path / "skips", 4, poison=[2, 1])
    error = launch(
        2, poisoned, run(tmp_path / "stops", 4, poison=[2, 1], max_skipped=0), fails=True
    )
    for rank in (0, 1):
        assert [line["skipped"] for line in lines(tmp_path / "skips", rank).values()] == [
            0,
            0,
            1,
            1,
        ]
    for name, value in state(tmp_path / "skips").items():
        assert torch.isfinite(value.float()).all(), name
    seen = (lines(tmp_path / "skips", rank)[2]["episodes"] for rank in (0, 1))
    named = ", ".join(sorted({name for episodes in seen for name in episodes}))
    assert "not finite at step 2, the 1. step to be skipped" in error
    assert f"its clips: {named};" in error
