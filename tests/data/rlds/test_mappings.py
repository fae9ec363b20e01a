"""DROID and Language-Table read as their features say; a YAML declares other data sets."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from rlds_material import write_tfrecords
from rt1_material import sound_record, write_records

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.rlds.conversion import convert
from selfflow_robotics.data.rlds.mappings import DROID, LANGUAGE_TABLE, RT1, mapping_named
from selfflow_robotics.storage.notice import Notice

STEPS = 4
_F = tfds.features
JPEG = np.zeros((18, 32, 3), np.uint8)


def droid_features() -> Any:
    """Those of DROID's documentation, with smaller images."""
    image = _F.Image(shape=(18, 32, 3), dtype=np.uint8, encoding_format="png")

    def numbers(size: int) -> Any:
        return _F.Tensor(shape=(size,), dtype=np.float64)

    poses = {"gripper_position": 1, "cartesian_position": 6, "joint_position": 7}
    velocities = {"gripper_velocity": 1, "cartesian_velocity": 6, "joint_velocity": 7}
    flags = {key: _F.Scalar(np.bool_) for key in ("is_first", "is_last", "is_terminal")}
    step = {
        **flags,
        "language_instruction": _F.Text(),
        "language_instruction_2": _F.Text(),
        "observation": {
            **{key: numbers(size) for key, size in poses.items()},
            "wrist_image_left": image,
            "exterior_image_1_left": image,
            "exterior_image_2_left": image,
        },
        "action_dict": {key: numbers(size) for key, size in (poses | velocities).items()},
        "discount": _F.Scalar(np.float32),
        "reward": _F.Scalar(np.float32),
        "action": numbers(7),
    }
    metadata = {"recording_folderpath": _F.Text(), "file_path": _F.Text()}
    return _F.FeaturesDict({"episode_metadata": metadata, "steps": _F.Dataset(step)})


def language_table_features() -> Any:
    """Those of google-research/language-table's data sets, with smaller images."""
    flags = {key: _F.Scalar(np.bool_) for key in ("is_first", "is_last", "is_terminal")}
    pair = _F.Tensor(shape=(2,), dtype=np.float32)
    step = {
        **flags,
        "action": pair,
        "observation": {
            "effector_target_translation": pair,
            "effector_translation": pair,
            "instruction": _F.Tensor(shape=(512,), dtype=np.int32),
            "rgb": _F.Image(shape=(18, 32, 3), dtype=np.uint8, encoding_format="png"),
        },
        "reward": _F.Scalar(np.float32),
    }
    return _F.FeaturesDict({"episode_id": _F.Text(), "steps": _F.Dataset(step)})


def fill(feature: Any, key: str, step: int, random: np.random.Generator) -> Any:
    """A value of a feature."""
    if hasattr(feature, "items"):
        return {name: fill(inner, name, step, random) for name, inner in feature.items()}
    if isinstance(feature, _F.Image):
        return _png(step)
    if isinstance(feature, _F.Text):
        return f"{key} {step}"
    if key == "instruction":
        text = np.frombuffer("push the café".encode(), np.uint8)
        return np.pad(text, (0, 512 - len(text))).astype(np.int32)
    return random.uniform(-0.1, 0.1, feature.shape).astype(feature.np_dtype)


def _png(step: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(JPEG + step).save(buffer, "PNG")
    return buffer.getvalue()


def made(path: Path, features: Any, name: str) -> Path:
    """A TFRecord data set of two episodes of random values."""
    random = np.random.default_rng(0)
    records = []
    for _ in range(2):
        example = {k: fill(f, k, 0, random) for k, f in features.items() if k != "steps"}
        inner = features["steps"].feature
        example["steps"] = [fill(inner, "", step, random) for step in range(STEPS)]
        records.append(features.serialize_example(example))
    return write_tfrecords(path, features, {"train": [records]}, name)


@pytest.mark.parametrize(
    ("name", "features", "text"),
    [
        ("droid", droid_features, "language_instruction 2"),
        ("language_table", language_table_features, "push the café"),
    ],
)
def test_declared_data_sets(tmp_path: Path, name: str, features: Any, text: str) -> None:
    path = made(tmp_path / name, features(), name)
    with pytest.warns(Notice, match=r"q01 and q99 of the actions .* measured on 8 steps"):
        raw = open_dataset(path, name)
    episode = raw[1]
    assert episode.actions is not None and episode.states is not None
    mapping = mapping_named(name)
    assert episode.actions.shape == (STEPS, mapping.action_spec.size)
    assert mapping.state_spec is not None
    assert episode.states.shape == (STEPS, mapping.state_spec.size)
    assert episode.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert episode.instructions[2] == text

    done = convert(str(path), tmp_path / "out", workers=1)
    assert done is not None and (done.mapping, done.measured) == (name, True)
    opened = open_dataset(tmp_path / "out", name)
    assert opened.action_spec == raw.action_spec
    again = pickle.loads(pickle.dumps(raw))  # what is sent away is not measured again
    assert (again.action_spec, again.state_spec) == (raw.action_spec, raw.state_spec)
    normalized = opened.action_spec.normalize(episode.actions)
    assert np.abs(normalized).max() <= 1 and np.abs(normalized).max() > 0.5
    assert opened.state_spec is not None
    assert np.isfinite(opened.state_spec.normalize(episode.states)).all()


def test_droid_is_in_the_action_space_of_its_controller() -> None:
    spec = DROID.action_spec
    assert spec.units[0] == "0.075 m" and spec.units[3] == "0.15 rad"
    assert (spec.rate_hz, spec.low[0], spec.high[6]) == (15.0, -1.0, 1.0)
    assert LANGUAGE_TABLE.action_spec.rate_hz == 10.0


YAML = """
image: observation/image
actions: [action/world_vector, action/gripper_closedness_action]
action_spec:
  names: [x, y, z, gripper]
  units: [m, m, m, "1"]
  frame: robot base
  rotation: none
  gripper: relative, +1 closes, -1 opens, 0 keeps
  rate_hz: 3
  low: [-1, -1, -1, -1]
  high: [1, 1, 1, 1]
states: [observation/gripper_closed]
state_spec: {names: [closed]}
instruction: observation/natural_language_instruction
"""


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "my_robot.yaml").write_text(YAML)
    path = write_records(tmp_path / "set", [sound_record()])
    for name in ("action_spec.json", "state_spec.json"):
        (path / name).unlink()
    with pytest.warns(Notice, match="measured on 5 steps"):
        source = open_dataset(path, str(tmp_path / "my_robot.yaml"))
    assert source.mapping.name == "my_robot"
    episode, known = source[0], open_dataset(path)[0]
    assert episode.actions is not None and known.actions is not None
    np.testing.assert_array_equal(episode.actions, known.actions[:, [0, 1, 2, 6]])
    assert episode.instructions == known.instructions
    assert source.action_spec is not None and source.action_spec.rate_hz == 3.0
    low, high = (np.quantile(episode.actions[:, 0], share) for share in (0.01, 0.99))
    assert source.action_spec.q01[0] == pytest.approx(low)
    assert source.action_spec.q99[0] == pytest.approx(high)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("actions:", "action:"), r'unknown key "action"; did you mean "actions"\?'),
        (("  rate_hz", "  rate"), r'unknown key "action_spec.rate"; did you mean "rate_hz"\?'),
        (("rate_hz: 3", "rate_hz: fast"), "action_spec.rate_hz takes a number, got 'fast'"),
        (('  units: [m, m, m, "1"]\n', ""), "lacks action_spec.units"),
        (("image: observation/image\n", ""), "lacks image"),
        (("[m, m, m,", "[m, m,"), "units has 3 entries for 4 names"),
        (("frame: robot base", "frame: ["), "no readable YAML"),
    ],
)
def test_mistakes_in_it_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "my_robot.yaml"
    path.write_text(YAML.replace(*change))
    with pytest.raises(ValueError, match=message) as caught:
        mapping_named(str(path))
    assert str(path) in str(caught.value)


def test_no_such_mapping(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no mapping file .*robot.yaml"):
        mapping_named(str(tmp_path / "robot.yaml"))
    (tmp_path / "empty.yaml").touch()
    with pytest.raises(ValueError, match="holds no keys"):
        mapping_named(str(tmp_path / "empty.yaml"))
    assert mapping_named("rt1") is RT1 is mapping_named(RT1)


def test_statistics_are_all_there_or_none() -> None:
    entries = {**DROID.action_spec.to_json(), "q01": [0.0] * 7}
    with pytest.raises(ValueError, match=r"q99 has 0 entries for 7 names"):
        ActionSpec.from_json(entries)
