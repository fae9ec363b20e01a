"""What is written has RT-1's features, reads back exactly, and appears whole or not at all."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st
from rt1_material import SIZE, rt1_episode, sound_record

from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode, rt1_features, serialize
from selfflow_robotics.data.rt1.instruction_embedding import embed_instruction
from selfflow_robotics.data.rt1.writer import Container, Rt1Writer

FIXTURE = Path(__file__).parents[4] / "shared" / "fixtures" / "rt1_episode" / "first_step.json"


def as_tfds_reads(folder: Path) -> list[dict[str, Any]]:
    source = tfds.builder_from_directory(folder).as_data_source("train")
    return [{**source[i], "steps": list(source[i]["steps"])} for i in range(len(source))]


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
    per_shard=st.integers(1, 3),
    success=st.booleans(),
    container=st.sampled_from(["array_record", "tfrecord"]),
)
def test_episodes_read_back_as_written(
    lengths: list[int],
    seed: int,
    per_shard: int,
    success: bool,
    container: Container,
) -> None:
    written = [rt1_episode(n, seed + i, success=success) for i, n in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as folder:
        with Rt1Writer(Path(folder) / "set", SIZE, container, per_shard) as writer:
            for episode in written:
                writer.add(episode)
        source = open_dataset(Path(folder) / "set")
        assert len(source) == len(written)
        assert source.image_size == SIZE
        for i, before in enumerate(written):
            after = source[i]
            assert after.actions is not None and after.states is not None
            np.testing.assert_array_equal(after.actions, before.actions)
            np.testing.assert_array_equal(after.states, before.states)
            assert np.abs(after.images.astype(int) - before.images).max() <= 4
            assert after.instructions == before.instructions
            assert (after.success, after.source, after.id) == (success, "expert", f"train/{i}")


def test_what_is_to_be_imitated_is_kept_beside_the_records(tmp_path: Path) -> None:
    marks = np.array([True, False, True, True, False])
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(replace(rt1_episode(5), demonstrated=marks))
        writer.add(rt1_episode(3))
    source = open_dataset(tmp_path / "set")
    np.testing.assert_array_equal(source[0].demonstrated, marks)
    np.testing.assert_array_equal(source[1].demonstrated, [True] * 3)
    (tmp_path / "set" / "demonstrated.json").unlink()
    assert open_dataset(tmp_path / "set")[0].demonstrated is None


def test_steps_left_are_kept_beside_the_records(tmp_path: Path) -> None:
    left = np.array([3.25, np.inf, np.nan, 1.0, 0.0], np.float32)
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(rt1_episode(3))
        writer.add(replace(rt1_episode(5), steps_left=left))
        writer.add(rt1_episode(2))
        writer.label(2, np.array([1, 0], np.float32))
        with pytest.raises(ValueError, match=r"episode 2 of .* has 2 frames but steps_left of"):
            writer.label(2, left)
    with Rt1Writer(tmp_path / "plain", SIZE) as writer:
        for steps in (3, 5, 2):
            writer.add(rt1_episode(steps))
    source, plain = open_dataset(tmp_path / "set"), open_dataset(tmp_path / "plain")
    assert source[0].steps_left is None
    np.testing.assert_array_equal(source[1].steps_left, left)
    np.testing.assert_array_equal(source[2].steps_left, [1, 0])
    assert not (tmp_path / "plain" / "steps_left.json").exists()
    assert plain[1].steps_left is None
    # RT-1's own bytes are the same, and a cache of the one is not taken for the other's.
    shards = [next((tmp_path / name).glob("*array_record*")) for name in ("set", "plain")]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    assert "steps_left" in source.identity and "steps_left" not in plain.identity


@pytest.mark.parametrize("wrong", [[1.0] * 4, [-1.0] * 5])
def test_steps_left_that_make_no_sense_are_not_written(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"an episode of test has .*steps_left"):
        replace(rt1_episode(5), steps_left=np.array(wrong, np.float32))


def test_features_are_those_of_rt1() -> None:
    """Names, shapes and types of the catalogue entry of fractal20220817_data 0.1.0."""
    features = rt1_features((256, 320))
    assert set(features) == {"aspects", "attributes", "steps"}
    assert {k: v.np_dtype for k, v in features["aspects"].items()} == dict.fromkeys(
        ("already_success", "feasible", "has_aspects", "success", "undesirable"), np.bool_
    )
    kinds = (
        "collection_mode",
        "data_type",
        "env",
        "location",
        "objects_family",
        "task_family",
    )
    assert set(features["attributes"]) == {*kinds, *(f"{kind}_name" for kind in kinds)}
    for kind in kinds:
        assert features["attributes"][kind].np_dtype == np.int64
        assert isinstance(features["attributes"][f"{kind}_name"], tfds.features.Text)
    step = features["steps"].feature
    assert set(step) == {"observation", "action", "reward", "is_first", "is_last", "is_terminal"}
    shapes = {k: (v.shape, v.np_dtype) for k, v in step["action"].items()}
    assert shapes == {
        "world_vector": ((3,), np.float32),
        "rotation_delta": ((3,), np.float32),
        "gripper_closedness_action": ((1,), np.float32),
        "terminate_episode": ((3,), np.int32),
        "base_displacement_vector": ((2,), np.float32),
        "base_displacement_vertical_rotation": ((1,), np.float32),
    }
    observation = step["observation"]
    assert observation["image"].shape == (256, 320, 3)
    assert isinstance(observation["natural_language_instruction"], tfds.features.Text)
    assert observation["natural_language_embedding"].shape == (512,)
    others = set(observation) - {
        "image",
        "natural_language_instruction",
        "natural_language_embedding",
    }
    assert {key: observation[key].shape for key in others} == OBSERVATIONS
    assert {observation[key].np_dtype for key in others} == {np.float32}
    assert step["reward"].np_dtype == np.float32


@pytest.mark.skipif(not FIXTURE.is_file(), reason=f"no RT-1 fixture at {FIXTURE}")
def test_real_first_step_survives_exactly(tmp_path: Path) -> None:
    real = {k: v["value"] for k, v in json.loads(FIXTURE.read_text()).items()}

    def one_step(key: str) -> np.ndarray:
        return np.asarray(real[key], np.float64).astype(np.float32)[None]

    action_keys = ("world_vector", "rotation_delta", "gripper_closedness_action")
    episode = Rt1Episode(
        images=np.zeros((1, *SIZE, 3), np.uint8),
        observations={key: one_step(key) for key in OBSERVATIONS},
        actions=np.concatenate([one_step(key) for key in action_keys], axis=1),
        instructions=(real["natural_language_instruction"],),
        success=False,
        source="real",
        task="real",
        embeddings=one_step("natural_language_embedding"),
    )
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(episode)
    (read,) = as_tfds_reads(tmp_path / "set")
    (step,) = read["steps"]
    for key in (*OBSERVATIONS, "natural_language_embedding"):
        np.testing.assert_array_equal(step["observation"][key], one_step(key)[0])
    for key in action_keys:
        np.testing.assert_array_equal(step["action"][key], one_step(key)[0])
    text = step["observation"]["natural_language_instruction"].decode()
    assert text == "pick apple from white bowl"
    ours = open_dataset(tmp_path / "set")[0]
    assert ours.actions is not None and ours.states is not None
    assert ours.actions[0, 0] == np.float32(0.01115293)
    assert ours.states[0, 3] == np.float32(-0.60332626)
    assert ours.source == "real"


def test_the_last_step_is_marked(tmp_path: Path) -> None:
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(rt1_episode(3, success=True, source="perturbed"))
        writer.add(rt1_episode(2, success=False, source="random"))
    won, lost = as_tfds_reads(tmp_path / "set")
    assert [step["action"]["terminate_episode"].tolist() for step in won["steps"]] == [
        [0, 1, 0],
        [0, 1, 0],
        [1, 0, 0],
    ]
    assert [step["reward"] for step in won["steps"]] == [0.0, 0.0, 1.0]
    assert [step["is_first"] for step in won["steps"]] == [True, False, False]
    assert [step["is_last"] for step in lost["steps"]] == [False, True]
    assert [step["is_terminal"] for step in lost["steps"]] == [False, False]
    assert won["aspects"]["success"] and not lost["aspects"]["success"]
    assert won["attributes"]["collection_mode_name"] == b"perturbed"
    assert lost["attributes"]["collection_mode"] == 2


def test_statistics_leave_out_the_action_that_leads_nowhere(tmp_path: Path) -> None:
    episode = rt1_episode(200)
    episode.actions[-1] = 0.25
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(episode)
    spec = open_dataset(tmp_path / "set").action_spec
    np.testing.assert_allclose(spec.q99[:6], np.quantile(episode.actions[:-1], 0.99, axis=0)[:6])
    statistics = json.loads((tmp_path / "set" / "action_statistics.json").read_text())
    mean = episode.actions[:-1].mean(axis=0)
    np.testing.assert_allclose(statistics["mean"][:6], mean[:6], rtol=1e-5)
    # As a conversion publishes them, with the gripper absolute.
    assert statistics["gripper"] == "absolute, 1 open, 0 closed"
    assert 0 <= statistics["mean"][6] <= 1 and len(statistics["proprio"]["mean"]) == 8
    assert statistics["num_transitions"] == 199


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(rt1_episode())
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_second_is_refused(tmp_path: Path) -> None:
    said = r"set exists already; name another folder"
    second = Rt1Writer(tmp_path / "set", SIZE)
    with pytest.raises(FileExistsError, match=said), second:
        second.add(rt1_episode(seed=1))
        with Rt1Writer(tmp_path / "set", SIZE) as first:
            first.add(rt1_episode(seed=0))
    assert list(tmp_path.iterdir()) == [tmp_path / "set"]
    found = open_dataset(tmp_path / "set")[0]
    np.testing.assert_array_equal(found.actions, rt1_episode(seed=0).actions)


@pytest.mark.parametrize("container", ["array_record", "tfrecord"])
def test_full_disk_is_a_sentence_and_leaves_nothing_behind(tmp_path: Path, container: str) -> None:
    """The system refuses to write more, as on a full disk: here by the limit on a file's size."""
    program = f"""
import resource
from rt1_material import *
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
with Rt1Writer({str(tmp_path / "set")!r}, SIZE, {container!r}) as writer:
    for seed in range(40):
        writer.add(rt1_episode(seed=seed))
"""
    program = "from selfflow_robotics.data.rt1.writer import Rt1Writer" + program
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"{tmp_path / 'set'} could not be written (File too large)" in last, done.stderr
    assert "make room on its disk and run again" in last
    assert list(tmp_path.iterdir()) == []


def test_no_episodes_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no episode was given"), Rt1Writer(tmp_path / "s", SIZE):
        pass
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match=r"mine exists already; name another folder"):
        Rt1Writer(tmp_path / "mine", SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": np.full((5, 7), np.nan, np.float32)}, "episode 0 of .*entry x is nan"),
        ({"actions": np.full((5, 7), 0.3, np.float32)}, r"x is 0.3 m, outside"),
        ({"images": np.zeros((5, 8, 8, 3), np.uint8)}, r"images of shape \(8, 8, 3\)"),
    ],
)
def test_faulty_episodes_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message), Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(replace(rt1_episode(), **change))
    assert list(tmp_path.iterdir()) == []


def test_shapes_other_than_those_of_rt1_are_refused() -> None:
    with pytest.raises(ValueError, match="has no steps"):
        replace(rt1_episode(), images=np.zeros((0, *SIZE, 3), np.uint8))
    with pytest.raises(ValueError, match=r"actions of shape \(5, 6\); give \(5, 7\)"):
        replace(rt1_episode(), actions=np.zeros((5, 6), np.float32))
    with pytest.raises(ValueError, match=r"lacks the observations \['gripper_closed'\]"):
        rest = {k: v for k, v in rt1_episode().observations.items() if k != "gripper_closed"}
        replace(rt1_episode(), observations=rest)


def test_same_episode_same_bytes_in_every_process() -> None:
    program = "from rt1_material import sound_record; import sys; sys.stdout.buffer.write("
    program += "sound_record())"
    other = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        check=True,
    )
    assert other.stdout == sound_record() == serialize(rt1_episode(), SIZE)


def test_tensorflow_stays_out(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from rt1_material import sound_record, write_records
from selfflow_robotics.data.formats import open_dataset
write_records(Path({str(tmp_path)!r}) / "set", [sound_record()])
open_dataset(Path({str(tmp_path)!r}) / "set")[0]
sys.exit("tensorflow" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], check=True)


READ_WITH_TENSORFLOW = """
import sys
import numpy as np
import tensorflow_datasets as tfds
(example,) = tfds.as_numpy(tfds.builder_from_directory(sys.argv[1]).as_dataset("train"))
steps = list(example["steps"])
observations = [step["observation"] for step in steps]
np.savez(
    sys.argv[2],
    vectors=np.stack([step["action"]["world_vector"] for step in steps]),
    images=np.stack([found["image"] for found in observations]),
    texts=[found["natural_language_instruction"].decode() for found in observations],
    success=example["aspects"]["success"],
)
"""


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_tensorflow_reads_the_tfrecord_form(tmp_path: Path) -> None:
    """In a process of its own: beside other native libraries TensorFlow crashed."""
    episode = rt1_episode(4)
    with Rt1Writer(tmp_path / "set", SIZE, "tfrecord") as writer:
        writer.add(episode)
    words = [str(tmp_path / "set"), str(tmp_path / "read.npz")]
    subprocess.run([sys.executable, "-c", READ_WITH_TENSORFLOW, *words], check=True)
    found = np.load(tmp_path / "read.npz")
    np.testing.assert_array_equal(found["vectors"], episode.actions[:, :3])
    assert found["images"].shape == (4, *SIZE, 3)
    assert tuple(found["texts"]) == episode.instructions
    assert bool(found["success"])


def test_a_source_can_be_sent_to_another_process(tmp_path: Path) -> None:
    with Rt1Writer(tmp_path / "set", SIZE) as writer:
        writer.add(rt1_episode())
    source = open_dataset(tmp_path / "set")
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again[0].images, source[0].images)


def test_instruction_embeddings_are_unit_vectors_that_know_words() -> None:
    pick, same, other = (
        embed_instruction(text) for text in ("pick coke can", "Pick coke CAN", "open drawer")
    )
    assert pick.shape == (512,) and pick.dtype == np.float32
    assert abs(float(np.linalg.norm(pick)) - 1.0) < 1e-6
    np.testing.assert_array_equal(pick, same)
    assert abs(float(pick @ other)) < 0.3
    assert abs(float(np.linalg.norm(embed_instruction("")) - 1.0)) < 1e-6
