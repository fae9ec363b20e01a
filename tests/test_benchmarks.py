"""Every benchmark starts, with its smallest setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

FOLDER = Path(__file__).parents[1] / "benchmarks"
SHIPPED = "tabletop-small"

# What makes it small: {out} is a folder to write in, {data} a data set of 60 episodes.
SMALLEST = {
    "allocator": "",
    "any_action": "--steps 40 --parts free --out {out}/found.json",
    "imagined_frame": "--candidates 2 --turns 1",
    "opening": "--episodes 20 --rounds 1",
    "saving": "model=tiny",
    "true_dynamics": "--json --runs {out}",
    "vector_memory": "--envs 2 --steps 2 --rounds 1 --tasks CloseDrawer",
}
SLOW = {
    "fuzz": "--inputs 25",
    "environments": "",
    "few_steps": f"{SHIPPED} --data {{data}} --clips 2",
    "imagination": f"{SHIPPED} --data {{data}} --clips 4 --ahead 2",
    "golden": "--save {out}/numbers.json",
    "kills": "--kills 1 --only tokenizer",
    "latents": "",
    "objectives": "",
    "planning": "--only budget",
    "rollout": "--preset tiny --batch 1",
    "speed": "--parts frame --turns 1",
    "train": "",
}
# The one needs TensorFlow, the other cannot be made small; that they are understood is tried.
ONLY_READ = {"data", "more_samples"}
PARTS = {"clip_reader", "fuzz_readers", "planning_problems"}  # of others


def test_every_benchmark_is_started_by_a_test() -> None:
    there = {path.stem for path in FOLDER.glob("*.py")} - PARTS
    lacking = there - SMALLEST.keys() - SLOW.keys() - ONLY_READ
    assert not lacking, f"give {sorted(lacking)} a smallest setting here"


def start(name: str, words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip()


@pytest.mark.parametrize("name", sorted(SMALLEST))
def test_starts(name: str, tmp_path: Path) -> None:
    start(name, SMALLEST[name].format(out=tmp_path).split(), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(SLOW))
def test_starts_and_takes_its_time(name: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    if "{data}" in SLOW[name]:
        write_dataset(data, 60, steps=14, size=(64, 80))
    start(name, SLOW[name].format(out=tmp_path, data=data).split(), tmp_path)


@pytest.mark.parametrize("name", sorted(ONLY_READ))
def test_is_understood(name: str, tmp_path: Path) -> None:
    start(name, ["--help"], tmp_path)
