"""Each fault of a data set is one sentence that names the place and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rt1_material import SIZE, altered, as_tfrecord, rt1_episode, sound_record, write_records
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.action_spec import RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.rlds.mappings import BRIDGE, RT1
from selfflow_robotics.data.rt1.features import serialize

IMAGE = "steps/observation/image"


def refused(path: Path, *parts: str, error: type[Exception] = ValueError) -> None:
    """Opening, or reading episode 1, fails with one line that holds these parts."""
    with pytest.raises(error) as caught:
        open_dataset(path)[1]
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    assert "\n" not in text


def two_records(path: Path, second: bytes, container: str = "array_record") -> Path:
    write_records(path, [sound_record(0), second])
    if container == "tfrecord":
        as_tfrecord(path, [sound_record(0), second])
    return path


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_both_containers_read_the_same(tmp_path: Path, container: str) -> None:
    source = open_dataset(two_records(tmp_path / "set", sound_record(1), container))
    assert len(source) == 2
    written = rt1_episode(seed=1)
    np.testing.assert_array_equal(source[1].actions, written.actions)
    assert source[1].instructions == written.instructions
    with pytest.raises(IndexError, match=r"episodes 0\.\.1, not 2"):
        source[2]


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_truncated_shard(tmp_path: Path, container: str) -> None:
    # Incompressible episodes, so that half of the shard is more than its smallest size.
    records = [sound_record(seed, steps=60) for seed in range(2)]
    write_records(tmp_path / "set", records)
    if container == "tfrecord":
        as_tfrecord(tmp_path / "set", records)
    (shard,) = (tmp_path / "set").glob(f"*{container}*")
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size * 2 // 3])
    refused(tmp_path / "set", shard.name, "truncated", "copy or download it again")


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_bytes_that_changed(tmp_path: Path, container: str) -> None:
    two_records(tmp_path / "set", sound_record(1), container)
    (shard,) = (tmp_path / "set").glob(f"*{container}*")
    content = bytearray(shard.read_bytes())
    place = len(sound_record(0)) + 800 if container == "tfrecord" else 2000
    content[place] ^= 255
    shard.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{shard.name}.*(damaged|checksum).*again"):
        source = open_dataset(tmp_path / "set")
        [source[i] for i in range(2)]


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_foreign_file_in_place_of_a_shard(tmp_path: Path, container: str) -> None:
    two_records(tmp_path / "set", sound_record(1), container)
    (shard,) = (tmp_path / "set").glob(f"*{container}*")
    shard.write_bytes(b"not records at all " * 10_000)
    refused(tmp_path / "set", shard.name, "copy or download it again")


def test_missing_shard(tmp_path: Path) -> None:
    two_records(tmp_path / "set", sound_record(1))
    (shard,) = (tmp_path / "set").glob("*array_record*")
    shard.unlink()
    refused(tmp_path / "set", "no array_record files of its split train", error=FileNotFoundError)


def test_fewer_episodes_than_promised(tmp_path: Path) -> None:
    two_records(tmp_path / "set", sound_record(1))
    as_tfrecord(tmp_path / "set", [sound_record(0)])
    refused(tmp_path / "set", "1 episodes of split train", "promises 2", "again")


@pytest.mark.parametrize(
    ("marks", "parts"),
    [
        ({"train": ["11111"]}, ("each of the 2 episodes of split train", "again")),
        ({"train": 3}, ("each of the 2 episodes of split train", "again")),
        (["11111"], ("is damaged", "a list", "again")),
        ({"train": ["11111", "111"]}, ("episode train/1", "5 frames", "3 marks")),
        ({"train": ["11111", "11x11"]}, ("episode train/1", '"11x11"', "again")),
    ],
)
def test_marks_of_other_episodes(tmp_path: Path, marks: object, parts: tuple[str, ...]) -> None:
    two_records(tmp_path / "set", sound_record(1))
    (tmp_path / "set" / "demonstrated.json").write_text(json.dumps(marks))
    refused(tmp_path / "set", "demonstrated", *parts)


@pytest.mark.parametrize(
    ("left", "parts"),
    [
        ({"train": ["1 1 1 1 0"]}, ("a text of numbers for each of the 2 episodes", "again")),
        ({"train": ["", "1 0"]}, ("episode train/1", "5 frames", "steps_left of shape (2,)")),
        ({"train": ["", "2 1 -1 1 0"]}, ("episode train/1", "steps_left -1 at step 2", "inf")),
        ({"train": ["", "2 1 x 1 0"]}, ("episode train/1", "no number", "x", "again")),
    ],
)
def test_steps_left_of_other_episodes(
    tmp_path: Path, left: dict[str, object], parts: tuple[str, ...]
) -> None:
    two_records(tmp_path / "set", sound_record(1))
    (tmp_path / "set" / "steps_left.json").write_text(json.dumps({"until": "instruction", **left}))
    refused(tmp_path / "set", "steps_left.json", *parts)


@pytest.mark.parametrize(
    ("instructions", "left", "wrong"),
    [
        (("open drawer", "place apple"), "4.2 3.2 2.5 1 0", "count to the end of the task"),
        (("open drawer",), " ".join(map(str, range(120)[::-1])), "count every step whole"),
        (("open drawer",), "4.2 3.2 2.5 1 0", None),
        (("open drawer",), "4 3 2 1 0", None),  # too few to say what was counted
    ],
)
def test_labels_of_an_older_form_are_not_read_as_if_they_were_of_this_one(
    tmp_path: Path, instructions: tuple[str, ...], left: str, wrong: str | None
) -> None:
    steps, folder = len(left.split()), tmp_path / "set"
    given = [instructions[-1] if step > 2 else instructions[0] for step in range(steps)]
    episode = replace(rt1_episode(steps), instructions=tuple(given))
    two_records(folder, serialize(episode, SIZE))
    (folder / "demonstrated.json").unlink()
    file = folder / "steps_left.json"
    file.write_text(json.dumps({"train": ["", left]}))
    if wrong is not None:
        refused(folder, str(file), "older form", wrong, "collect the data again", "take the file")
        file.write_text(json.dumps({"until": "instruction", "train": ["", left]}))
    read = open_dataset(folder)[1].steps_left
    np.testing.assert_array_equal(read, np.array(left.split(), np.float32))


def nan_actions(feature: tf_example_pb2.Feature) -> None:
    feature.float_list.value[4] = float("nan")


def infinite_first(feature: tf_example_pb2.Feature) -> None:
    feature.float_list.value[0] = float("inf")


def garbled_image(feature: tf_example_pb2.Feature) -> None:
    feature.bytes_list.value[3] = b"\xff\xd8 this is no picture"


def cut_image(feature: tf_example_pb2.Feature) -> None:
    feature.bytes_list.value[3] = feature.bytes_list.value[3][:-300]


def fewer_values(feature: tf_example_pb2.Feature) -> None:
    del feature.float_list.value[-3:]


def stray_values(feature: tf_example_pb2.Feature) -> None:
    del feature.float_list.value[-2:]


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
@pytest.mark.parametrize(
    ("key", "change", "parts"),
    [
        ("steps/action/world_vector", nan_actions, ("action/world_vector", "nan", "step 1")),
        ("steps/action/rotation_delta", infinite_first, ("rotation_delta = [inf", "step 0")),
        ("steps/observation/gripper_closed", infinite_first, ("gripper_closed = [inf]", "step 0")),
        (IMAGE, garbled_image, ("corrupt observation/image at step 3",)),
        (IMAGE, cut_image, ("corrupt observation/image at step 3",)),
        (IMAGE, None, ("lacks steps/observation/image, which features.json promises",)),
        ("steps/action/world_vector", None, ("lacks steps/action/world_vector",)),
        ("steps/action/rotation_delta", fewer_values, ("different lengths", "rotation_delta")),
        ("steps/action/rotation_delta", stray_values, ("does not hold what", "rotation_delta")),
        ("aspects/success", None, ("lacks aspects/success",)),
    ],
)
def test_faulty_episode(
    tmp_path: Path,
    container: str,
    key: str,
    change: Callable[[tf_example_pb2.Feature], None] | None,
    parts: tuple[str, ...],
) -> None:
    path = two_records(tmp_path / "set", altered(sound_record(1), key, change), container)
    assert len(open_dataset(path)[0]) == 5
    (shard,) = path.glob(f"*{container}*")
    refused(path, f"episode train/1 of {path} ({shard.name}) ", *parts)


def test_more_actions_than_frames(tmp_path: Path) -> None:
    def one_image_less(feature: tf_example_pb2.Feature) -> None:
        del feature.bytes_list.value[-1]

    path = two_records(tmp_path / "set", altered(sound_record(1), IMAGE, one_image_less))
    refused(path, "train/1", "4 frames", "5")


def test_zero_length_episode(tmp_path: Path) -> None:
    example = tf_example_pb2.Example.FromString(sound_record(1))
    for name, feature in example.features.feature.items():
        if name.startswith("steps/"):
            kind = feature.WhichOneof("kind")
            del getattr(feature, kind).value[:]
            getattr(feature, kind).SetInParent()
    path = two_records(tmp_path / "set", example.SerializeToString())
    refused(path, "episode train/1 of", "no steps", "leave it out")


def test_infinite_orientation_box_is_no_fault(tmp_path: Path) -> None:
    episode = rt1_episode()
    box = np.array([[-np.inf] * 3, [np.inf] * 3], np.float32)
    observations = {**episode.observations, "orientation_box": np.stack([box] * 5)}
    record = serialize(replace(episode, observations=observations), SIZE)
    assert len(open_dataset(write_records(tmp_path / "set", [record]))[0]) == 5


def test_feature_that_the_mapping_reads_is_absent(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    with pytest.raises(ValueError, match=r'lacks steps/observation/image_0, .*"bridge" reads'):
        open_dataset(path, mapping="bridge")
    with pytest.raises(ValueError, match=r'no mapping is called "bridg"; choose .*bridge.*rt1'):
        open_dataset(path, mapping="bridg")


def test_mapping_of_another_size(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    mapping = replace(RT1, name="short", actions=RT1.actions[:2])
    with pytest.raises(ValueError, match=r'actions of .*"short" describes 7 entries'):
        open_dataset(path, mapping)
    mapping = replace(RT1, name="blind", image="observation/workspace_bounds")
    with pytest.raises(ValueError, match=r"workspace_bounds of shape \(3, 3\), no RGB image"):
        open_dataset(path, mapping)


def test_stored_actions_of_another_meaning(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    mapping = replace(RT1, name="mine", action_spec=BRIDGE.action_spec)
    with pytest.raises(ValueError) as caught:
        open_dataset(path, mapping)
    assert "action_spec.json" in str(caught.value) and 'the mapping "mine"' in str(caught.value)
    assert "roll-pitch-yaw" in str(caught.value)
    spec = replace(RT1_STATE, names=tuple("abcdefgh"))
    with pytest.raises(ValueError, match=r"proprioception of .*state_spec.json holds"):
        open_dataset(path, replace(RT1, name="mine", state_spec=spec))


def test_stored_statistics_are_used(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    assert open_dataset(path).action_spec.q01 != RT1.action_spec.q01
    (path / "action_spec.json").unlink()
    assert open_dataset(path).action_spec == RT1.action_spec


def test_missing_folder_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no data set at .*nowhere: the folder does not"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"lacks features.json; give the folder"):
        open_dataset(tmp_path)
    write_records(tmp_path / "set" / "1.0.0", [sound_record()])
    with pytest.raises(FileNotFoundError, match=r"did you mean .*set/1.0.0\?"):
        open_dataset(tmp_path / "set")


def test_unreadable_metadata_and_unknown_split(tmp_path: Path) -> None:
    path = write_records(tmp_path / "set", [sound_record()])
    with pytest.raises(ValueError, match=r'has no split "test"; it has \[.train.\]'):
        open_dataset(path, split="test")
    features = json.loads((path / "features.json").read_text())
    (path / "features.json").write_text(json.dumps(features)[:-50])
    refused(path, "features.json is unreadable", "again")
