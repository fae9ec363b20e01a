"""`selfflow data check` finds what is wrong, names it, and counts what is right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rlds_material import rt1_records, rt1_tfrecords, without_steps, write_tfrecords
from rt1_material import SIZE, altered, rt1_episode, write_records
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.cli.data_check import Config, run
from selfflow_robotics.data.config import WholeDataConfig
from selfflow_robotics.data.rlds.dataset_check import check_dataset
from selfflow_robotics.data.rlds.mappings import mapping_named
from selfflow_robotics.data.rt1.features import rt1_features, serialize

FIXTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "octo_bridge_debug"


def nan(feature: tf_example_pb2.Feature) -> None:
    feature.float_list.value[4] = float("nan")


@pytest.mark.parametrize("container", ["tfrecord", "array_record"])
def test_a_sound_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], container: str
) -> None:
    records = rt1_records(4)
    if container == "tfrecord":
        path = rt1_tfrecords(tmp_path / "set", shards=2)
    else:
        path = write_records(tmp_path / "set", records)
    (split,) = check_dataset(path, workers=1)
    assert (split.split, split.episodes, split.steps) == ("train", 4, 3 + 4 + 5 + 6)
    assert split.num_bytes == sum(map(len, records)) and split.faults == ()
    assert run(Config(WholeDataConfig([path]), workers=1)) == 0
    text = capsys.readouterr().out
    assert "4 episodes" in text and "18 steps" in text and "0 faults" in text
    assert "steps/action/world_vector" in text and "aspects/success" in text


@pytest.mark.skipif(not FIXTURE.is_dir(), reason=f"no Bridge fixture at {FIXTURE}")
def test_a_real_one() -> None:
    train, val = check_dataset(FIXTURE, workers=1)
    assert (train.episodes, train.steps, train.num_bytes) == (25, 250, 3474742)
    assert (val.split, val.episodes, val.faults) == ("val", 25, ())


def test_faults_are_named_and_the_rest_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = rt1_records(3)
    states = altered(good[1], "steps/observation/gripper_closed", nan_at_0)
    bad = [good[0], altered(good[1], "steps/action/rotation_delta", nan), states]
    path = write_tfrecords(tmp_path / "set", rt1_features(SIZE), {"train": [bad, good, good]})
    shards = sorted(path.glob("*tfrecord*"))
    content = bytearray(shards[1].read_bytes())
    content[len(good[0]) + 900] ^= 4
    shards[1].write_bytes(content)
    shards[2].write_bytes(shards[2].read_bytes()[:-1])
    (split,) = check_dataset(path, workers=1)
    assert split.episodes == 3
    assert len(split.faults) == 4
    first, second, third, fourth = split.faults
    assert first.startswith(f"episode 1 of {shards[0]} has action/rotation_delta = [")
    assert second.startswith(f"episode 2 of {shards[0]} has observation/gripper_closed = [nan]")
    assert f"{shards[1]}, disagrees with its checksum" in third
    assert f"{shards[2]} is truncated" in fourth
    with pytest.raises(ValueError, match=r"set has 4 faults:\nepisode 1 of"):
        run(Config(WholeDataConfig([path]), workers=1))
    assert "4 faults" in capsys.readouterr().out


def test_missing_feature_and_no_steps_are_faults(tmp_path: Path) -> None:
    good = rt1_records(3)
    lacking = altered(good[1], "steps/observation/src_rotation", None)
    path = write_tfrecords(
        tmp_path / "set",
        rt1_features(SIZE),
        {"train": [[good[0], lacking, without_steps(good[2])]]},
    )
    (shard,) = path.glob("*tfrecord*")
    (split,) = check_dataset(path, workers=1)
    assert split.episodes == 1
    first, second = split.faults
    assert first.startswith(f"episode 1 of {shard} lacks steps/observation/src_rotation")
    assert second.startswith(f"episode 2 of {shard} has no steps")


def nan_at_0(feature: tf_example_pb2.Feature) -> None:
    feature.float_list.value[0] = float("nan")


def test_infinite_boxes_are_no_fault(tmp_path: Path) -> None:
    episode = rt1_episode()
    box = np.array([[-np.inf] * 3, [np.inf] * 3], np.float32)
    observations = {**episode.observations, "orientation_box": np.stack([box] * 5)}
    record = serialize(replace(episode, observations=observations), SIZE)
    (split,) = check_dataset(write_records(tmp_path / "set", [record]), workers=1)
    assert split.faults == ()


def test_what_is_not_all_there(tmp_path: Path) -> None:
    path = rt1_tfrecords(tmp_path / "set", shards=3)
    text = (path / "dataset_info.json").read_text()
    (path / "dataset_info.json").write_text(text.replace('["2", "2", "2"]', '["2", "2", "3"]'))
    (split,) = check_dataset(path, workers=1)
    assert split.faults == (
        f"{path} holds 6 episodes of split train where dataset_info.json promises 7; "
        "copy or download the data set again",
    )
    with pytest.raises(ValueError, match='which the mapping "bridge" reads'):
        check_dataset(path, mapping_named("bridge"))
    sorted(path.glob("*tfrecord*"))[1].unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks 1 of the 3 shards .*-00001-of-00003"):
        check_dataset(path)
    with pytest.raises(FileNotFoundError, match=r"no data set at .*nowhere"):
        check_dataset(tmp_path / "nowhere")
