"""`selfflow improve` goes on where it was, says what will fail, and judges on states of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.improving.rounds import _times
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.world_model.world_model import WorldModel

TRAINED = "objective=unrolled trainer.steps=2 trainer.batch_size=2 trainer.frames=4"
SMALL = (
    f"{TRAINED} tasks=[CloseDrawer] episodes=3 judged=1 workers=1 labels=expert seed=5 "
    "trainer.save_every=1 critic.steps=3 critic.batch_size=8 prior.steps=3 players.planner=0.4 "
    "players.wander=0.3 players.shut=0 players.perturbed=0 planner.candidates=2 "
    "planner.iterations=1 planner.horizon=2 planner.hold=2 planner.topk=1"
)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data of one task and a world model without prior and critic."""
    folder = tmp_path_factory.mktemp("begun")
    collected = "tasks=[CloseDrawer] episodes=12 seed=3 players.perturbed=0.3 "
    collected += "players.random=0.2 random_steps=8 image_size=[16,24] workers=1 labels=expert"
    assert main(["collect", f"out={folder / 'base'}", *collected.split()]) == 0
    stored.save(Patches(4), folder / "tokenizer")
    words = [f"data={folder / 'base'}", f"tokenizer={folder / 'tokenizer'}", "prior.steps=0"]
    words += ["model=cells0", "model.cells=8", *TRAINED.split()]
    assert main(["finetune", f"out={folder / 'world'}", *words]) == 0
    return folder


def words_of(begun: Path, out: Path) -> list[str]:
    start = [f"world_model={begun / 'world'}", f"data={begun / 'base'}"]
    return ["improve", f"out={out}", *start, *SMALL.split()]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("critic.steps=0", "critic.steps=0 leaves the critic as it is"),
        ("data=[]", "there are no episodes: add data=FOLDER"),
        ("tasks=[PickCan]", 'no task "PickCan"; choose from PickCokeCan'),
        ("tasks=[PickCokeCan]", 'was not trained on the word "'),
        ("players.planner=0.9", "must be shares from 0 with a sum of at most 1"),
        ("players.nobody=0.1", "nobody plays as nobody"),
        ("objective=tabletop", "was trained with objective.shift=1"),
        ("trainer.frames=3", "clips of trainer.frames=3 have no objective.ahead=3 frames"),
        ("trainer.accumulate=3", "a batch of 2 clips does not divide"),
        ("planner.receding_horizon=3", "planner.receding_horizon=3 carries out more steps"),
        ("planner.doubt=-1", "planner.doubt=-1"),
        ("planner.topk=5", "topk"),
    ],
)
def test_what_would_fail_later_is_said_before_anything_is_played(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, message: str
) -> None:
    assert main([*words_of(begun, tmp_path / "out"), word]) in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_data_that_mean_something_else_are_refused(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset(tmp_path / "other", 4)
    spec = json.loads((other / "action_spec.json").read_text())
    (other / "action_spec.json").write_text(json.dumps({**spec, "rate_hz": 10.0}))
    assert main([*words_of(begun, tmp_path / "out"), f"data={other}"]) == 1
    assert "mean different things: rate_hz" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_left_alone(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letters.txt").write_text("Dear")
    assert main(words_of(begun, tmp_path)) == 1
    assert "is not a folder of rounds (it holds letters.txt)" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def kill_at(command: list[str], folder: Path, pattern: str) -> None:
    """Run until such a file is there, and end it the hard way."""
    running = subprocess.Popen(
        [sys.executable, "-m", "selfflow_robotics.cli.main", *command], start_new_session=True
    )
    end = time.monotonic() + 500
    while not list(folder.glob(pattern)):
        assert running.poll() is None and time.monotonic() < end, f"no {pattern} came about"
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()


def files(folder: Path) -> dict[Path, int]:
    """All that is not a table, and when it was written."""
    found = [p for p in folder.rglob("*") if p.is_file()]
    return {p: p.stat().st_mtime_ns for p in found if p.name not in ("improve.json", "config.json")}


@pytest.mark.slow
def test_killed_between_and_inside_stages_it_comes_to_the_same(
    begun: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*words_of(begun, whole), "rounds=2"]) == 0
    command = [*words_of(begun, broken), "rounds=2"]
    for pattern in (
        "round-0/.judged-*-partial",
        "round-1/.data-*-partial",
        "round-1/data",
        "round-1/training/checkpoints/step-*1/.metadata",
        "round-1/world/model.safetensors",
        "round-2/judged",
    ):
        kill_at(command, broken, pattern)
    assert main(command) == 0
    for name in ("round-0/judged.json", "round-1/judged.json", "round-2/judged.json"):
        assert (broken / name).read_text() == (whole / name).read_text()
    for number in (1, 2):
        same = [f / f"round-{number}/world/model.safetensors" for f in (broken, whole)]
        assert same[0].read_bytes() == same[1].read_bytes()
    assert not list(broken.rglob("*-partial"))

    worlds = [WorldModel.from_pretrained(str(whole / f"round-{i}" / "world")) for i in range(3)]
    assert all(world.critic is not None for world in worlds)
    assert [world.prior is not None for world in worlds] == [False, False, True]
    table = json.loads((whole / "improve.json").read_text())["rounds"]
    assert [one["number"] for one in table] == [0, 1, 2]
    recorded = [open_dataset(whole / f"round-{i}" / "data") for i in (1, 2)]
    lengths = [sum(len(data[i]) for i in range(len(data))) for data in recorded]
    assert [one["frames"] for one in table] == [0, lengths[0], sum(lengths)]
    judged = list(open_dataset(whole / "round-2" / "judged"))
    assert [episode.source for episode in judged] == ["alone"]
    told = table[2]["tasks"]["CloseDrawer"]
    assert told["episodes"] == 1 and told["successes"] == int(judged[0].success is True)
    assert told["frames"] + told["lost"] == len(judged[0])
    trained_on = {data[i].images[0].tobytes() for data in recorded for i in range(len(data))}
    assert judged[0].images[0].tobytes() not in trained_on

    before = files(whole)
    capsys.readouterr()
    assert main([*words_of(begun, whole), "rounds=2", "workers=2"]) == 0
    assert files(whole) == before
    assert main([*words_of(begun, whole), "rounds=2", "seed=6"]) == 1
    said = capsys.readouterr().err
    assert "holds the rounds of another run: seed was 5 and is 6" in said


@pytest.mark.parametrize(
    ("data", "own", "times"), [(3600, 400, 4), (3600, 100, 4), (3600, 1200, 2), (50, 100, 1)]
)
def test_a_third_of_what_rounds_fit_is_the_planners_own(data: int, own: int, times: int) -> None:
    assert _times([range(data)], [range(own)]) == times  # type: ignore[list-item]
