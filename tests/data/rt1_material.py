"""Episodes with RT-1's features, and data sets of them in both containers, sound or damaged."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import google_crc32c
import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode, serialize
from selfflow_robotics.data.rt1.writer import Rt1Writer

SIZE = (16, 24)


def rt1_episode(
    steps: int = 5, seed: int = 0, source: str = "expert", success: bool = True
) -> Rt1Episode:
    """Random values of RT-1's shapes; images are smooth, so that JPEG keeps them nearly."""
    rng = np.random.default_rng(seed)
    flat = rng.integers(0, 256, (steps, 1, 1, 3))
    return Rt1Episode(
        images=np.broadcast_to(flat, (steps, *SIZE, 3)).astype(np.uint8),
        observations={
            key: rng.standard_normal((steps, *shape)).astype(np.float32)
            for key, shape in OBSERVATIONS.items()
        },
        actions=rng.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32),
        instructions=tuple(f"pick apple {i}" for i in range(steps)),
        success=success,
        source=source,
        task="test",
    )


def write_records(path: Path, records: Sequence[bytes]) -> Path:
    """An ArrayRecord data set of these records."""
    episode = rt1_episode()
    with Rt1Writer(path, SIZE) as writer:
        for record in records:
            writer.add_record(record, episode.actions, episode.states)
    return path


def as_tfrecord(folder: Path, records: Sequence[bytes]) -> Path:
    """Turn an ArrayRecord data set into a TFRecord one that holds these records."""
    info = json.loads((folder / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (shard,) = folder.glob("*array_record*")
    shard.unlink()
    target = folder / shard.name.replace("array_record", "tfrecord")
    target.write_bytes(b"".join(_framed(record) for record in records))
    return target


def altered(
    record: bytes, key: str, change: Callable[[tf_example_pb2.Feature], None] | None
) -> bytes:
    """The record with one of its features changed, or left out."""
    example = tf_example_pb2.Example.FromString(record)
    if change is None:
        del example.features.feature[key]
    else:
        change(example.features.feature[key])
    return bytes(example.SerializeToString())


def sound_record(seed: int = 0, steps: int = 5) -> bytes:
    """One episode as bytes."""
    return serialize(rt1_episode(steps, seed), SIZE)


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + _crc(length) + record + _crc(record)


def _crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
