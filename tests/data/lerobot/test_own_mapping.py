"""A LeRobot folder of one's own is read with a short YAML, and an error in it is shown as that."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from folders import actions, change_info, change_rows, grey, levels, states, write_v2, write_v3

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.lerobot.mappings import LeRobotMapping, lerobot_mapping_named
from selfflow_robotics.storage.notice import Notice

YAML = """
image: observation.images.image
actions: [action]
action_entries: [0, 1, 6]
action_spec:
  names: [x, y, gripper]
  units: [m, m, "1"]
  frame: robot base
  rotation: none
  gripper: absolute, 1 open, 0 closed
  rate_hz: 3
  low: [-1, -1, -1]
  high: [1, 1, 1]
  q01: [-0.2, -0.2, 0]
  q99: [0.2, 0.2, 1]
states: [observation.state]
state_spec: {names: [a, b, c, d, e, f, g, h]}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(YAML)
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_is_read(tmp_path: Path, mine: Path, write: Callable[[Path], Path]) -> None:
    source = open_dataset(write(tmp_path / "set"), str(mine))
    for number in (3, 0, 1):
        episode = source[number]
        np.testing.assert_array_equal(episode.actions, actions(number)[:, [0, 1, 6]])
        np.testing.assert_array_equal(episode.states, states(number))
        np.testing.assert_allclose(levels(source, number), grey(number), atol=2)
    assert isinstance(source.mapping, LeRobotMapping) and source.mapping.name == "mine"
    assert source.action_spec is not None
    assert source.action_spec.names == ("x", "y", "gripper")


def test_from_the_command_line(
    tmp_path: Path, mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_v3(tmp_path / "set")
    assert main(["data", "check", f"data={path}", f"data.mapping={mine}"]) == 0
    assert "4 episodes" in capsys.readouterr().out
    change_info(path, splits={"train": "0:2"})
    with pytest.warns(Notice, match='split "train" is "0:2", but meta/ lists 4') as told:
        assert main(["data", "check", f"data={path}", f"data.mapping={mine}"]) == 0
    assert "4 episodes" in capsys.readouterr().out
    line = warnings.formatwarning(told[0].message, told[0].category, "file.py", 1)
    assert line == f"note: {told[0].message}\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("actions:", "action:"), r'unknown key "action"; did you mean "actions"\?'),
        (("state_spec:", "proprio:"), r'unknown key "proprio"; there are name, image, action_spec'),
        (("  rate_hz", "  zzz"), r'unknown key "action_spec.zzz"; there are names, units, frame'),
        (("rate_hz: 3", "rate_hz: fast"), "action_spec.rate_hz takes a number, got 'fast'"),
        (("[0, 1, 6]", "[0, one]"), r"action_entries\[1\] takes an integer, got 'one'"),
        (('  units: [m, m, "1"]\n', ""), "lacks action_spec.units"),
        (("image: observation.images.image\n", ""), "lacks image"),
        (("frame: robot base", "frame: ["), "no readable YAML"),
        (("states:", "1: 2\nstates:"), 'unknown key "1"'),
    ],
)
def test_mistakes_in_it_are_named(
    tmp_path: Path, mine: Path, change: tuple[str, str], said: str
) -> None:
    mine.write_text(YAML.replace(*change))
    path = write_v3(tmp_path / "set")
    with pytest.raises(ValueError, match=said) as caught:
        open_dataset(path, str(mine))
    assert str(mine) in str(caught.value) and "\n" not in str(caught.value)


def test_without_actions(tmp_path: Path, mine: Path) -> None:
    path = write_v3(tmp_path / "set")
    info = json.loads((path / "meta/info.json").read_text())
    del info["features"]["action"]
    (path / "meta/info.json").write_text(json.dumps(info))
    change_rows(
        path / "data/chunk-000/file-000.parquet", lambda rows: [row.pop("action") for row in rows]
    )
    with pytest.raises(ValueError, match=r'lacks action, .*"actions: \[\]" in a YAML'):
        open_dataset(path, str(mine))
    mine.write_text(YAML.replace("[action]", "[]"))
    with pytest.warns(Notice, match="^mean and deviation of the states of .* 22 steps"):
        source = open_dataset(path, str(mine))
    episode = source[1]
    assert source.action_spec is None and episode.actions is None
    np.testing.assert_array_equal(episode.states, states(1))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no mapping file .*none.yaml"):
        open_dataset(write_v3(tmp_path / "set"), str(tmp_path / "none.yaml"))


def test_yaml_of_the_data_set_reads_its_export(tmp_path: Path) -> None:
    rlds = tmp_path / "rt1.yaml"
    rlds.write_text(
        YAML.replace("image: observation.images.image", "image: observation/image")
        .replace("action_entries: [0, 1, 6]\n", "instruction: language_instruction\n")
        .replace("observation.state", "observation/state")
    )
    exported = lerobot_mapping_named(str(rlds), exported=True)
    assert exported.self_described and exported.image == "observation.images.image"
    with pytest.raises(ValueError, match='unknown key "instruction"'):
        lerobot_mapping_named(str(rlds))
    rlds.write_text(YAML)
    assert lerobot_mapping_named(str(rlds)).action_entries == (0, 1, 6)
    assert lerobot_mapping_named(str(rlds), exported=True).action_entries == ()


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_statistics_that_nobody_tells_are_measured(
    tmp_path: Path, mine: Path, write: Callable[[Path], Path]
) -> None:
    """On all steps of the split, whatever `meta/stats.json` says."""
    mine.write_text(YAML.replace("  q01: [-0.2, -0.2, 0]\n  q99: [0.2, 0.2, 1]\n", ""))
    path = write(tmp_path / "set")
    change_info(path, splits={"train": "0:2", "val": "2:4"})
    with pytest.warns(Notice, match=r"q01 and q99 of .* measured on 14 steps") as told:
        source = open_dataset(path, str(mine))
    assert "mean and deviation" in str(told[0].message)
    steps = np.concatenate([actions(0), actions(1)])[:, :2]
    np.testing.assert_allclose(source.action_spec.q01[:2], np.quantile(steps, 0.01, axis=0), 1e-6)
    np.testing.assert_allclose(source.action_spec.q99[:2], np.quantile(steps, 0.99, axis=0), 1e-6)
    assert (source.action_spec.q01[2], source.action_spec.q99[2]) == (-1.0, 1.0)  # of the gripper
    assert source.state_spec is not None
    been = np.concatenate([states(0), states(1)])
    np.testing.assert_allclose(source.state_spec.mean, been.mean(axis=0), atol=1e-6)
    with warnings.catch_warnings(action="error"):  # what is sent away is not measured again
        sent = pickle.loads(pickle.dumps(source))
    assert sent.action_spec == source.action_spec and sent.identity == source.identity


def test_a_faulty_step_is_named_while_it_is_measured(tmp_path: Path, mine: Path) -> None:
    mine.write_text(YAML.replace("  q01: [-0.2, -0.2, 0]\n  q99: [0.2, 0.2, 1]\n", ""))
    path = write_v3(tmp_path / "set")
    change_rows(
        path / "data/chunk-000/file-001.parquet",
        lambda rows: rows[3].update({"action": [float("nan")] * 7}),
    )
    with pytest.raises(ValueError, match=r"train/3 of .*file-001.parquet.* has action = \[nan"):
        open_dataset(path, str(mine))


def test_yaml_of_a_lerobot_folder_reads_its_export(tmp_path: Path, mine: Path) -> None:
    path, out = write_v3(tmp_path / "set"), tmp_path / "out"
    info = (path / "meta/info.json").read_text()
    (path / "meta/info.json").write_text(info.replace("images.image", "images.front"))
    change_rows(
        path / "meta/episodes/chunk-000/file-000.parquet",
        lambda rows: [
            row.update({key.replace("images.image", "images.front"): value})
            for row in rows
            for key, value in list(row.items())
        ],
    )
    (path / "videos/observation.images.image").rename(path / "videos/observation.images.front")
    mine.write_text(YAML.replace("images.image", "images.front"))
    words = [f"data={path}", f"data.mapping={mine}", f"out={out}"]
    assert main(["data", "export", "lerobot", *words]) == 0
    again = open_dataset(out, str(mine))
    np.testing.assert_array_equal(again[1].actions, actions(1)[:, [0, 1, 6]])


@pytest.mark.parametrize("entries", [[0, 1, 6], [2, 0, 1]])
def test_an_export_has_chosen_the_entries_already(
    tmp_path: Path, mine: Path, entries: list[int]
) -> None:
    """Even where the data set's own image is called as that of an export."""
    mine.write_text(YAML.replace("[0, 1, 6]", str(entries)))
    path, out = write_v3(tmp_path / "set"), tmp_path / "out"
    words = [f"data={path}", f"data.mapping={mine}", f"out={out}"]
    assert main(["data", "export", "lerobot", *words]) == 0
    again = open_dataset(out, str(mine))
    np.testing.assert_array_equal(again[1].actions, actions(1)[:, entries])
    np.testing.assert_array_equal(again[1].states, states(1))
