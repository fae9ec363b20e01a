"""Encoding stops at a faulty episode, says where it lies, and keeps the parts before it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
from latent_material import material, only
from rt1_material import altered, sound_record, write_records
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.tokenizers.patches import Patches

sys.path.insert(0, str(Path(__file__).parents[1] / "lerobot"))


def encode(path: Path, mapping: str, cache: Path) -> str:
    """What encoding says of a data set whose episode 1 is faulty."""
    source = open_dataset(path, mapping)
    with pytest.raises(ValueError) as caught:
        latents_of(source, Patches(4), cache, RT1_ACTIONS, RT1_STATE, part_episodes=1)
    assert sorted(p.name for p in only(cache).glob("*part-*")) == ["part-00000"]
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("key", ["action/world_vector", "observation/gripper_closed"])
def test_number_that_is_not_finite_in_rlds(tmp_path: Path, key: str, value: float) -> None:
    def spoil(feature: tf_example_pb2.Feature) -> None:
        feature.float_list.value[0] = value

    records = [sound_record(0), altered(sound_record(1), f"steps/{key}", spoil)]
    path = write_records(tmp_path / "set", records)
    (shard,) = path.glob("*array_record*")
    said = encode(path, "rt1", tmp_path / "cache")
    assert said.startswith(f"episode train/1 of {path} ({shard.name}) has {key} = [{value}")
    assert "at step 0; leave the episode out" in said


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("key", "size"), [("action", 7), ("observation.state", 8)])
def test_number_that_is_not_finite_in_lerobot(
    tmp_path: Path, key: str, size: int, value: float
) -> None:
    from folders import change_rows, write_v3
    from test_faults import MAPPING, V3_ROWS

    def spoil(found: list[dict[str, Any]]) -> None:
        [row] = [r for r in found if (r["episode_index"], r["frame_index"]) == (1, 2)]
        row[key] = [value] * size

    path = write_v3(tmp_path / "set")
    change_rows(path / V3_ROWS, spoil)
    said = encode(path, MAPPING, tmp_path / "cache")
    assert said.startswith(f"episode train/1 of {path} ({V3_ROWS}) has {key} = [{value}")
    assert "at step 2; leave the episode out" in said


def test_proprioception_that_normalising_makes_infinite(tmp_path: Path) -> None:
    given = material()
    given.episodes[3].states[2] = 3e38
    with pytest.raises(ValueError, match=r"train/\d has proprioception \[.*\] at step 2, which is"):
        latents_of(given, Patches(2), tmp_path, RT1_ACTIONS, RT1_STATE)
