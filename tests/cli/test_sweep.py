"""`-m`: a command for each combination of values, by Hydra's sweeper and launchers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.cli.sweep import sweep
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.training.stopping import stop_request

MAKE = ["tokenizer", "kind=patches", "image_size=[16,16]"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_dataset(tmp_path / "a b", 3)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_each_combination_runs_into_a_folder_of_its_own(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["out=made/here", "data=../a b", "factor=2,4", "seed=range(0,2)"]
    assert main([*MAKE, "-m", *words]) == 0
    names = [f"factor={factor},seed={seed}" for factor in (2, 4) for seed in (0, 1)]
    made = folder / "made" / "here"
    assert sorted(path.name for path in made.iterdir()) == [*names, "multirun.yaml"]
    assert [stored.load(made / name).factor for name in names] == [2, 2, 4, 4]
    assert [
        line[:-1] for line in capfd.readouterr().out.splitlines() if line[:-1] in names
    ] == names
    assert [path.name for path in folder.iterdir()] == ["made"]


def test_presets_are_swept_and_what_writes_nothing_leaves_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["estimate", "--multirun", "objective=self_flow,sra", "model=tiny"]) == 0
    said, errors = capfd.readouterr()
    assert said.count("parameters") == 2
    assert "objective=self_flow:\n" in said and "objective=sra:\n" in said
    assert (errors, list(folder.iterdir())) == ("", [])


def test_a_launcher_that_hides_how_processes_are_started_is_undone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As joblib 1.6.0 does in its workers: see `findings/joblib_workers_cannot_spawn.sh`."""
    chosen: list[str] = []
    monkeypatch.setattr("multiprocessing.get_start_method", lambda: "loky")
    monkeypatch.setattr("multiprocessing.set_start_method", lambda name, force: chosen.append(name))
    assert main([*MAKE, "-m", "out=made", "data=../a b", "factor=2,4"]) == 0
    assert chosen == ["spawn", "spawn"]


def test_a_job_that_fails_is_named_and_the_others_run(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*MAKE, "-m", "out=made", "data=nowhere/x,'../a b'"]) == 1
    lines = capfd.readouterr().err.splitlines()
    first, second = [line for line in lines if line.startswith("error")]
    assert first.startswith("error: data.path=nowhere_x: ") and "nowhere/x" in first
    assert second == "error: 1 of 2 jobs failed: data.path=nowhere_x"
    assert stored.load(folder / "made" / "data.path=.._a b").factor == 8


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed=1,many", "seed takes an integer, got 'many'"),
        ("seed=1,-1", "seed=-1: give whole numbers from 0 on"),
        ("sead=1,2", 'did you mean "seed"'),
        ("factor=2,2", "jobs of the sweep are alike"),
        ("seed=7", "-m runs a command for several values of a key"),
        ("seed=interval(0,1)", "a sweep takes A,B,C, choice"),
        ("hydra/launcher=nothing", "the sweep cannot be started: .*hydra/launcher/nothing"),
        ("hydra.sweepr.dir=x", "the sweep cannot be started: .*sweepr"),
    ],
)
def test_all_jobs_are_understood_before_the_first(
    word: str, said: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*MAKE, "-m", "out=made", "data=../a b", "seed=0,1", word]) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1 and re.search(said, errors[0]), errors
    assert list(folder.iterdir()) == []


@dataclass(frozen=True)
class Count:
    count: int = 0


@dataclass(frozen=True)
class Place:
    path: Path = Path()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("/a,/b", ["/a", "/b"]),
        ("/a=b,/c d,/e$f,/g${h},/i'j", ["/a=b", "/c d", "/e$f", "/g${h}", "/i'j"]),
        ("'/a,b',\"/c=d\"", ["/a,b", "/c=d"]),
    ],
)
def test_paths_of_any_name_are_swept(text: str, paths: list[str]) -> None:
    seen = []

    def run(config: Place, name: str) -> int:
        seen.append(str(config.path))
        return 0

    assert sweep("place", Place, run, [f"path={text}"]) == 0
    assert seen == paths


def test_a_training_that_is_stopped_stops_the_sweep() -> None:
    ran = []

    def train(config: Count, name: str) -> int:
        ran.append(name)
        with stop_request():
            signal.raise_signal(signal.SIGINT)
        return 0

    with pytest.raises(SystemExit) as left:
        sweep("count", Count, train, ["count=1,2"])
    assert (left.value.code, ran) == (130, ["count=1"])


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to send there")
def test_an_interrupt_ends_the_sweep(tmp_path: Path) -> None:
    words = ["collect", "-m", "out=sets", "seed=0,1", "tasks=CloseDrawer", "episodes=100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "selfflow_robotics.cli.main", *words, "workers=1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        deadline = time.monotonic() + 100
        while not list(tmp_path.glob("sets/.seed=0-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        try:
            # Python drops what a handler raises inside a destructor; a user would ask again.
            while process.poll() is None and time.monotonic() < deadline:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=20)
            assert process.poll() == 130
        finally:
            process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == "seed=0:\n"
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["multirun.yaml"]
