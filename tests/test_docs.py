"""The pages of docs/ do what they say: their files, commands and snippets, from top to bottom.

A block's language may be followed by a file's name: it is then written to that file, and run by
what comes after it.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_dataset import write_dataset

import selfflow_robotics
from selfflow_robotics import planning
from selfflow_robotics.cli.main import commands, main, named_by

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "selfflow_robotics" / "weights" / "tabletop-small"
TRAINED = (
    "model=tiny trainer.steps=2 trainer.batch_size=2 trainer.frames=3 trainer.log_every=1 "
    "prior.steps=2"
)
SMALLER = {
    "tokenizer": "steps=2 widths=[8,8,8]",
    "data encode": "workers=0",
    "finetune": TRAINED,
    "audit": "states=1 candidates=2 threads=1",
    "evaluate": "episodes=1 num_envs=1 videos=0 threads=1",
}
"""What makes each command small, after what the page says."""
SEARCH = "planner.candidates=2 planner.iterations=1 planner.topk=1 planner.horizon=2 planner.hold=2"
HEADROOM = {
    "improve": "tasks=[CloseDrawer] rounds=1 episodes=2 judged=1 workers=1 labels=expert "
    "trainer.steps=1 trainer.batch_size=2 trainer.frames=3 critic.steps=2 critic.batch_size=4 "
    f"players.planner=0.5 players.wander=0 players.shut=0 players.perturbed=0 {SEARCH}",
    "prior": "prior.steps=2",
    "evaluate": f"tasks=[CloseDrawer] episodes=1 videos=0 threads=1 {SEARCH}",
}
"""The same for what planning.md tells of rounds and benches."""
PUBLIC = {
    *(
        "WorldModel",
        "Dynamics",
        "CEM",
        "BlockCEM",
        "ICEM",
        "MPPI",
        "Adam",
        "PredictiveSampling",
        "PolicyGuided",
    ),
    *("Progress", "GoalImage", "Readout", "Constraint", "WeightedSum", "Plan", "evaluate"),
    *("Policy", "Observations", "EnvMapping", "PlannerPolicy", "RecedingHorizon", "TabletopEnv"),
    *("Episode", "ActionSpec", "LatentEpisodes", "Clips", "RldsMapping", "LeRobotMapping"),
    *("Tokenizer", "Autoencoder", "Trainer", "SelfFlow", "Modality", "open_dataset"),
}
BLOCK = re.compile(r"^```(\w+)(?: ([\w./]+))?\n(.*?)^```", re.DOTALL | re.MULTILINE)
"""Language, file and text of a block of a page."""


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Do what a page says, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def follow_page(page: str) -> None:
        names: dict[str, object] = {"__name__": "__main__"}
        for language, file, text in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")):
            if file:
                Path(file).write_text(text)
            elif language == "python":
                exec(compile(text, page, "exec"), names)
            elif language == "bash":
                run_commands(text)

    return follow_page


def run_commands(text: str, smaller: Mapping[str, str] = SMALLER) -> None:
    """Each line is a command, and succeeds."""
    for line in text.replace("\\\n", " ").strip().splitlines():
        program, *words = shlex.split(line)
        command = named_by(words, commands())
        assert program == "selfflow" and command is not None, line
        rest = words[len(command.split()) :]
        assert main([*command.split(), *rest, *smaller.get(command, "").split()]) == 0, line


def test_your_robot(follow: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.syspath_prepend(str(ROOT / "tests" / "data" / "lerobot"))
    from folders import write_v3

    write_v3(Path("my_robot"))
    write_dataset(Path("my_rlds"), 4)
    follow("your_robot.md")
    assert Path("runs/imagined.mp4").is_file()
    (event_file,) = Path("runs/world/training").rglob("events.out.tfevents*")
    curves = EventAccumulator(str(event_file)).Reload()
    assert {"train/loss", "train/data_wait"} <= set(curves.Tags()["scalars"])


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("your_simulator.md", marks=pytest.mark.slow),
        pytest.param("your_policy.md", marks=pytest.mark.slow),
        "your_model.md",
    ],
)
def test_page(page: str, follow: Callable[[str], None]) -> None:
    if not SHIPPED.is_dir():
        pytest.skip(f"the page loads {SHIPPED.name}, which this checkout lacks")
    follow(page)


def test_audit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not SHIPPED.is_dir():
        pytest.skip(f"the page loads {SHIPPED.name}, which this checkout lacks")
    monkeypatch.chdir(tmp_path)
    (commands_told,) = re.findall(
        r"```bash\n(.*?)```", (ROOT / "docs" / "objectives.md").read_text("utf-8"), re.S
    )
    run_commands(commands_told)
    assert (tmp_path / "outputs" / "audit" / "audit.svg").is_file()


@pytest.mark.slow
def test_rounds_and_benches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run_commands(
        "selfflow collect out=data/tabletop tasks=[CloseDrawer] episodes=24 seed=3 labels=expert "
        "players.perturbed=0.2 players.random=0.2 random_steps=8 image_size=[16,24] workers=1\n"
        "selfflow tokenizer out=runs/tokenizer data=data/tabletop\n"
        "selfflow finetune out=runs/world data=data/tabletop tokenizer=runs/tokenizer "
        "critic.steps=2 critic.batch_size=4"
    )
    page = (ROOT / "docs" / "planning.md").read_text("utf-8")
    for block in re.findall(r"```bash\n(.*?)```", page, re.S):
        run_commands(block, HEADROOM)
    table = json.loads(Path("runs/improved/improve.json").read_text())
    assert [row["number"] for row in table["rounds"]] == [0, 1]
    assert Path("runs/world/priors/5").is_dir()
    results = json.loads(Path("runs/prior_5/results.json").read_text())
    assert results["settings"]["seeds"] == [2_000_000]
    planner = [pair for pair in results["paired"] if pair["policy"] == "planner"]
    rows = ["prior", "random-choice", "shuffled", "random", "zero", "true-frames", "oracle"]
    assert [pair["against"] for pair in planner] == rows


@pytest.mark.parametrize("page", ["planning.md", "objectives.md"])
def test_snippets_about_planning(page: str) -> None:
    if not SHIPPED.is_dir():
        pytest.skip(f"the page loads {SHIPPED.name}, which this checkout lacks")
    world_model = selfflow_robotics.WorldModel.from_pretrained(SHIPPED.name)
    frames = np.zeros((1, 1, *world_model.image_size, 3), np.uint8)
    context = world_model.observe(frames, np.zeros((1, 0, 7), np.float32), "pick coke can")
    names: dict[str, Any] = {"world_model": world_model, "context": context}
    names |= {name: getattr(planning, name) for name in ("CEM", "Progress", "WeightedSum")}
    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.S)
    exec(compile(snippet, page, "exec"), names)
    if page == "objectives.md":
        up_BKHA = torch.tensor([[[[0, 0, 0.1, 0, 0, 0, 0.0]]], [[[0, 0, -0.1, 0, 0, 0, 0.0]]]])
        future = world_model.rollout(context, up_BKHA.transpose(0, 1))
        costs = names["going_down"](context, future)
        torch.testing.assert_close(costs, torch.tensor([[0.0, 0.1]]))


@pytest.mark.slow
def test_from_data_to_a_plan_without_a_command_line(tmp_path: Path) -> None:
    """A program of its own: what it imports and leaves in the process is its own matter."""
    script = [sys.executable, str(ROOT / "docs" / "from_data_to_plan.py")]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert re.search(r"tensor\(\[\[.*\n.*\]\]\)", done.stdout)
    assert (tmp_path / "world" / "model.safetensors").is_file()


@pytest.mark.slow
def test_api_pages_have_every_public_name(tmp_path: Path) -> None:
    pytest.importorskip("pdoc", reason="the API pages need pdoc: make docs installs it")
    script = [sys.executable, str(ROOT / "docs" / "api.py"), str(tmp_path)]
    built = subprocess.run(script, capture_output=True, text=True, timeout=280)
    assert built.returncode == 0 and not built.stderr, built.stderr
    pages = [page.read_text("utf-8") for page in tmp_path.rglob("*.html")]
    assert {name for page in pages for name in re.findall(r'id="(\w+)"', page)} >= PUBLIC
    (front,) = [p.read_text("utf-8") for p in tmp_path.glob("selfflow_robotics.html")]
    assert set(selfflow_robotics.__all__) <= set(re.findall(r'id="(\w+)"', front))


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), target


def test_files_that_pages_name_exist() -> None:
    pages = ["README.md", "CONTRIBUTING.md", "Makefile", ".ci/versions"]
    pages += [str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")]
    places = (ROOT, ROOT / "selfflow_robotics")
    tops = {path.name for place in places for path in place.iterdir() if path.is_dir()}
    named = r"(?<![\w/<.-])([a-z_]+)/([\w/.-]*\.(?:py|md|yaml))\b"
    for page in pages:
        for top, rest in re.findall(named, (ROOT / page).read_text("utf-8")):
            found = top not in tops or any((place / top / rest).is_file() for place in places)
            assert found, f"{page} names {top}/{rest}"
