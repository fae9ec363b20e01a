"""Small TFRecord data sets of any features, as TFDS lays them out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from rt1_material import SIZE, rt1_episode
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.rlds.tfrecord import TFRecordWriter
from selfflow_robotics.data.rt1.features import rt1_features, serialize

RT1_MODULE = "tensorflow_datasets.robotics.rtx.rtx"


def write_tfrecords(
    path: Path,
    features: tfds.features.FeaturesDict,
    shards: Mapping[str, Sequence[Sequence[bytes]]],
    name: str = "small",
    module: str = RT1_MODULE,
) -> Path:
    """A folder with these records: of every split, of every shard."""
    path.mkdir(parents=True, exist_ok=True)
    features.save_config(str(path))
    splits = []
    for split, parts in shards.items():
        for i, records in enumerate(parts):
            writer = TFRecordWriter(path / f"{name}-{split}.tfrecord-{i:05}-of-{len(parts):05}")
            for record in records:
                writer.write(record)
            writer.close()
        splits.append(
            {
                "name": split,
                "numBytes": str(sum(len(record) for records in parts for record in records)),
                "shardLengths": [str(len(records)) for records in parts],
            }
        )
    info = {
        "name": name,
        "version": "0.1.0",
        "fileFormat": "tfrecord",
        "moduleName": module,
        "splits": splits,
    }
    (path / "dataset_info.json").write_text(json.dumps(info))
    return path


def rt1_records(count: int, steps: int = 3) -> list[bytes]:
    """Episodes with RT-1's features, of steps, steps + 1, ... steps."""
    return [serialize(rt1_episode(steps + i % 4, i), SIZE) for i in range(count)]


def rt1_tfrecords(path: Path, shards: int = 3, per_shard: int = 2, **more: Any) -> Path:
    """A TFRecord data set with RT-1's features and shards of per_shard episodes."""
    records = rt1_records(shards * per_shard)
    parts = [records[i * per_shard : (i + 1) * per_shard] for i in range(shards)]
    name = "fractal20220817_data"
    return write_tfrecords(path, rt1_features(SIZE), {"train": parts}, name, **more)


def files_of(folder: Path) -> dict[str, bytes]:
    """The content of every file."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def without_steps(record: bytes) -> bytes:
    """The record of an episode, with every feature of a step empty."""
    example = tf_example_pb2.Example.FromString(record)
    for name, feature in example.features.feature.items():
        if name.startswith("steps/"):
            del getattr(feature, feature.WhichOneof("kind")).value[:]
    return bytes(example.SerializeToString())
