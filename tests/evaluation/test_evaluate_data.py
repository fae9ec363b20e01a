"""evaluate and rollout with data=: of any format, read and checked before an episode is played."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selfflow_robotics.envs import TASKS
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.evaluation.results import read_results

EPISODES = 30  # of which 12 and 24 are held out
STEPS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "rt1", EPISODES, steps=STEPS)


@pytest.fixture(scope="module")
def lerobot(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data") / "lerobot"
    assert main(["data", "export", "lerobot", f"data={data}", f"out={out}"]) == 0
    return out


def evaluate(model: Path, out: Path, *words: str) -> int:
    play = ("tasks=CloseDrawer", "policies=zero", "episodes=1", "threads=1", "videos=0")
    return main(["evaluate", f"world_model={model}", f"out={out}", *play, *words])


@pytest.mark.parametrize("kind", ["data", "lerobot"])
def test_held_out_episodes_judge_though_no_policy_plans(
    kind: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    assert evaluate(model, tmp_path, f"data={folder}", "horizon=2") == 0
    results = read_results(tmp_path / "results.json")
    assert results.imagination is not None
    assert (results.imagination.episodes, results.imagination.clips) == (2, 2 * (STEPS - 2))
    options = results.settings.options
    assert options["data.path"] == f"[{folder}]" and options["data.mapping"] == "rt1"
    assert options["data.split"] == "train"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("horizon=6",), "the longest of 6 frames: too few to imagine 6 steps"),
        (("data.split=val",), "val"),
        (("data.mapping=bridge",), "bridge"),
        (("data.mapping=other.yaml",), "rate_hz 3.0 and 5.0;"),
        (("data.path=[{data},{data}]",), "one data set at a time"),
        (("data=/nowhere/at/all",), "/nowhere/at/all"),
        (("data={few}",), "0 of them to judge by"),
    ],
)
def test_data_that_cannot_judge_is_said_before_anything_is_played(
    words: tuple[str, ...],
    said: str,
    model: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    few = write_dataset(tmp_path / "few", 3)
    write_mapping(tmp_path / "other.yaml")
    given = [word.format(data=data, few=few) for word in words]
    assert evaluate(model, tmp_path / "out", f"data={data}", *given) != 0
    error = capsys.readouterr().err
    import re

    assert re.search(rf"^error: .*{said}", error, re.MULTILINE), error
    assert not (tmp_path / "out").exists()


def write_mapping(path: Path) -> None:
    """RT-1's, of another rate."""
    from dataclasses import asdict, replace

    from selfflow_robotics.data.rlds.mappings import MAPPINGS

    rt1 = MAPPINGS["rt1"]
    assert rt1.action_spec is not None
    other = replace(rt1, name="other", action_spec=replace(rt1.action_spec, rate_hz=5.0))
    path.write_text(json.dumps(asdict(other)))


class TestRollout:
    def test_episodes_of_a_data_set(
        self, model: Path, lerobot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["rollout", f"world_model={model}", f"data={lerobot}", f"out={tmp_path / 'a.mp4'}"]
        assert main([*words, "episode=7"]) == 0
        assert "episode train/7, 6 frames" in capsys.readouterr().out
        assert main(words) == 0
        assert "episode train/12, 6 frames" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("word", "said"),
        [
            ("episode=30", "has episodes 0..29, not 30"),
            ("horizon=6", "too few to imagine 6 steps"),
        ],
    )
    def test_what_is_not_there_is_said(
        self,
        word: str,
        said: str,
        model: Path,
        data: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        out = tmp_path / "a.mp4"
        assert main(["rollout", f"world_model={model}", f"data={data}", f"out={out}", word]) == 1
        assert said in capsys.readouterr().err
        assert not out.exists()


def test_all_tasks_of_ours_tell_their_rate() -> None:
    import gymnasium

    from selfflow_robotics.evaluation.trial import rate_of

    for task in TASKS:
        env = gymnasium.make(task)
        assert rate_of(env) == 3.0
        env.close()
