"""The table of commands in README, walked from top to bottom: each goes on with what was left."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from selfflow_robotics.cli.main import commands, main, named_by
from selfflow_robotics.world_model.world_model import WorldModel

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = (
    "tasks=[CloseDrawer] players.perturbed=0 players.random=0.8 random_steps=8 image_size=[32,48] "
    "workers=1 "
)
TRAINED = "model=tiny trainer.steps=2 trainer.batch_size=2 trainer.frames=3"
WALKED = {
    "collect": SMALL + "episodes=14",
    "data convert rlds": "data=data/tfrecord workers=1",
    "data check": "",
    "data export lerobot": "",
    "tokenizer": "steps=2 image_size=[32,48] widths=[8,8,8]",
    "data encode": "workers=0",
    "estimate": "model=tiny",
    "pretrain": f"physics_episodes=2 image_size=[32,48] {TRAINED}",
    "finetune": f"cache=runs/latents prior.steps=2 {TRAINED}",
    "improve": "tasks=[CloseDrawer] episodes=2 rounds=1 judged=1 workers=1 labels=expert "
    "trainer.steps=0 critic.steps=2 critic.batch_size=4 players.planner=0.5 players.wander=0 "
    "players.shut=0 players.perturbed=0 planner.candidates=2 planner.iterations=1 planner.topk=1 "
    "planner.horizon=2 planner.hold=2",
    "probe": "world_model=runs/world",
    "infer": "world_model=runs/world episodes=1 steps=1",
    "rollout": "task=CloseDrawer",
    "plan": "task=CloseDrawer threads=1",
    "audit": "tasks=[CloseDrawer] states=1 candidates=2 threads=1",
    "prior": "prior.steps=2",
    "evaluate": "tasks=[CloseDrawer] policies=[prior,random] episodes=1 num_envs=1 threads=1",
}
"""What makes each small, or stands for what the reader has: their own data, their own videos."""


def table() -> list[tuple[str, list[str]]]:
    """The commands of README's table and their words, in its order, but for the three beside it."""
    lines = [shlex.split(line) for line in re.findall(r"^\| `selfflow ([^`]+)`", README, re.M)]
    found = []
    for words in lines:
        command = named_by(words, commands())
        assert command is not None
        if command not in ("demo", "doctor") and not command.startswith("submit"):
            found.append((command, words[len(command.split()) :]))
    return found


def files(folder: str) -> dict[Path, int]:
    """Every file and when it was written."""
    return {p: p.stat().st_mtime_ns for p in Path(folder).rglob("*") if p.is_file()}


def test_the_table_is_walked_whole() -> None:
    assert [command for command, _ in table()] == list(WALKED)


def test_every_command_goes_on_with_what_those_before_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tfrecord = [*SMALL.split(), "episodes=2", "container=tfrecord", "out=data/tfrecord"]
    assert main(["collect", *tfrecord]) == 0
    latents: dict[Path, int] = {}
    for command, words in table():
        given = [word for word in words if not word.endswith("=FOLDER")]
        status = main([*command.split(), *given, *WALKED[command].split()])
        said = capfd.readouterr()
        assert status == 0, f"selfflow {command}: {said.err[-2000:]}"
        if command == "data encode":
            latents = files("runs/latents")
            assert latents
        if command == "finetune":
            assert files("runs/latents") == latents, "latents were encoded again"
            assert "weights of runs/video" in said.out
    assert WorldModel.from_pretrained("runs/world").prior is not None
    assert Path("outputs/evaluate/report.html").is_file()
    assert Path("runs/improved/improve.json").is_file()
