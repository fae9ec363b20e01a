"""LeRobot data sets of every version as episodes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from folders import (
    IMAGE,
    LENGTHS,
    RATE,
    SIZE,
    TASKS,
    actions,
    change_info,
    change_rows,
    grey,
    states,
    task_numbers,
    write_v2,
    write_v3,
    write_video,
)

from selfflow_robotics.data.action_spec import RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.lerobot.mappings import (
    BRIDGE_MIRROR,
    FRACTAL_MIRROR,
    lerobot_mapping_named,
)
from selfflow_robotics.data.lerobot.source import LeRobotSource, open_lerobot
from selfflow_robotics.data.rlds.mappings import BRIDGE, RT1

FRACTAL = "fractal20220817_data_lerobot"
WRITERS: dict[str, Callable[[Path], Path]] = {
    "v2.0": lambda path: write_v2(path, "v2.0"),
    "v2.1": write_v2,
    "v2.1 images": lambda path: write_v2(path, kind="image"),
    "v3.0": write_v3,
    "v3.0 in one row group": lambda path: write_v3(path, row_groups=False),
    "v3.0 images": lambda path: write_v3(path, kind="image"),
}


@pytest.fixture(params=WRITERS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> LeRobotSource:
    return open_lerobot(WRITERS[request.param](tmp_path / "set"), FRACTAL)


def levels(images: np.ndarray) -> np.ndarray:
    """The level of each frame, on which the codec errs by little."""
    return images.astype(float).mean(axis=(1, 2, 3))


def test_every_version_reads_the_same(source: LeRobotSource) -> None:
    assert len(source) == len(LENGTHS)
    assert source.image_size == SIZE
    assert source.action_spec == FRACTAL_MIRROR.action_spec
    assert source.state_spec == RT1_STATE
    for number in (2, 0, 3, 1):
        episode = source[number]
        np.testing.assert_array_equal(episode.actions, actions(number))
        np.testing.assert_array_equal(episode.states, states(number))
        assert episode.images.shape == (LENGTHS[number], *SIZE, 3)
        np.testing.assert_allclose(levels(episode.images), grey(number), atol=2)
        assert episode.instructions == tuple(TASKS[task] for task in task_numbers(number))
        assert episode.id == f"train/{number}"
        assert episode.success is None and episode.demonstrated is None
        assert episode.source == "demonstration"
    with pytest.raises(IndexError, match=r"episodes 0\.\.3, not 4"):
        source[4]


def test_the_same_call_opens_it_and_it_can_be_sent_away(tmp_path: Path) -> None:
    source = open_dataset(write_v3(tmp_path / "set"), FRACTAL)
    sent = pickle.loads(pickle.dumps(source))
    assert sent.name == source.name == f"{tmp_path / 'set'}:train"
    np.testing.assert_array_equal(sent[3].images, source[3].images)


def test_splits_are_those_of_the_folder(tmp_path: Path) -> None:
    change_info(write_v3(tmp_path / "set"), splits={"train": "0:3", "val": "3:4"})
    assert len(open_lerobot(tmp_path / "set", FRACTAL)) == 3
    held = open_lerobot(tmp_path / "set", FRACTAL, split="val")
    assert len(held) == 1 and held[0].id == "val/0"
    np.testing.assert_array_equal(held[0].actions, actions(3))
    with pytest.raises(ValueError, match=r'no split "test"; it has \[.train., .val.\]'):
        open_lerobot(tmp_path / "set", FRACTAL, split="test")


def test_features_in_another_form(tmp_path: Path) -> None:
    """Actions of two features, some entries of the state, success in the steps, channels first."""
    path = write_v3(tmp_path / "set")
    info = json.loads((path / "meta/info.json").read_text())
    features = info["features"]
    features["action"]["shape"] = [6]
    features["gripper"] = {"dtype": "float64", "shape": [1], "names": None}
    features["next.success"] = {"dtype": "bool", "shape": [1], "names": None}
    features[IMAGE]["shape"] = [3, *SIZE]
    change_info(path, features=features)

    def split(rows: list[dict[str, object]]) -> None:
        for row in rows:
            action = row["action"]
            assert isinstance(action, list)
            row["action"], row["gripper"] = action[:6], action[6]
            row["next.success"] = row["episode_index"] == 1 and row["frame_index"] == 8

    for file in path.glob("data/*/*.parquet"):
        change_rows(file, split)
    spec = replace(RT1_STATE, names=("b", "a"), mean=(0.0, 0.0), std=(1.0, 1.0))
    mapping = replace(
        FRACTAL_MIRROR,
        name="mine",
        actions=("action", "gripper"),
        state_entries=(1, 0),
        state_spec=spec,
        success="next.success",
    )
    source = open_lerobot(path, mapping)
    assert source.image_size == SIZE
    np.testing.assert_array_equal(source[1].actions, actions(1))
    np.testing.assert_array_equal(source[1].states, states(1)[:, [1, 0]])
    assert [source[i].success for i in range(4)] == [False, True, False, False]


def test_frames_are_found_between_those_that_come_early(tmp_path: Path) -> None:
    """Frames with B-frames around them, at a start that is no key frame, for every episode."""
    path = write_v3(tmp_path / "set")
    more = [10 + 3 * i for i in range(60)]
    video = path / f"videos/{IMAGE}/chunk-000/file-001.mp4"
    write_video(video, more)
    place = path / "meta/episodes/chunk-000/file-000.parquet"
    for first in (1, 7, 30, 53):

        def move(rows: list[dict[str, object]], first: int = first) -> None:
            rows[3][f"videos/{IMAGE}/from_timestamp"] = first / RATE
            rows[3][f"videos/{IMAGE}/to_timestamp"] = (first + LENGTHS[3]) / RATE

        change_rows(place, move)
        found = open_lerobot(path, FRACTAL)[3].images
        np.testing.assert_allclose(levels(found), more[first : first + LENGTHS[3]], atol=1.4)


def test_mirrors_of_rt1_and_bridge_are_declared() -> None:
    fractal, bridge = (lerobot_mapping_named(name) for name in (FRACTAL, "bridge_orig_lerobot"))
    # Its gripper's action is absolute, so models of RT-1's own actions shall refuse it.
    with pytest.raises(ValueError, match="gripper 'absolute, 1 open"):
        fractal.action_spec.require_match(RT1.action_spec, "the mirror", "RT-1")
    assert fractal.action_spec.q01[6] == 0 and fractal.action_spec.q99[6] == 1
    bridge.action_spec.require_match(BRIDGE.action_spec, "the mirror", "Bridge")
    assert bridge is BRIDGE_MIRROR and bridge.state_spec == BRIDGE.state_spec
    with pytest.raises(ValueError, match=r'called "bridg"; choose one of .*bridge_orig.*rt1'):
        lerobot_mapping_named("bridg")
