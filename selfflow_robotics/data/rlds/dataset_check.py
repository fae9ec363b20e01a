"""Is a data set whole and sound? Every record is read and checked, images stay encoded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfflow_robotics.data.checked import Checked
from selfflow_robotics.data.rlds.array_record import ArrayRecords
from selfflow_robotics.data.rlds.conversion import LEFT_OUT_FILE
from selfflow_robotics.data.rlds.episode_check import EpisodeCheck
from selfflow_robotics.data.rlds.mapping_fit import fitting_mapping, require_fit
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.data.rlds.metadata import (
    INFO_FILE,
    DatasetInfo,
    flatten,
    read_features,
    require_folder,
    shards_of,
)
from selfflow_robotics.data.rlds.shard_pool import on_every_shard
from selfflow_robotics.data.rlds.tfrecord import TFRecords

_NAMED = 20


@dataclass(frozen=True)
class _Shard:
    split: str
    path: Path
    finite: tuple[str, ...]  # keys of states


def check_dataset(
    path: Path, mapping: RldsMapping | None = None, workers: int | None = None
) -> list[Checked]:
    """Check all splits of a data set, ArrayRecord or TFRecord.

    Args:
        mapping: whose keys must be there too; when None, the declared mapping that fits.
        workers: processes; one a CPU when None.

    Returns:
        A split each. Faults name file, episode and key.

    Raises:
        FileNotFoundError: no such folder, or it lacks its metadata or a shard.
        ValueError: the metadata is damaged, or the mapping does not fit.
    """
    features = read_features(require_folder(path))
    info = DatasetInfo.read(path)
    flat = flatten(features)
    if mapping is None:
        mapping = fitting_mapping(flat)
    else:
        require_fit(mapping, flat, str(path))
    finite = () if mapping is None else tuple(f"steps/{key}" for key in mapping.states)
    names = [entry.name for entry in path.iterdir()]
    shards = [
        _Shard(split.name, path / name, finite)
        for split in info.splits
        for name in shards_of(names, split, info.file_format, str(path))
    ]
    results = {
        shard: result
        if isinstance(result, Checked)
        else Checked(shard.split, 0, 0, 0, (str(result),))
        for shard, result in on_every_shard(_check_shard, shards, workers, "check")
    }
    found = []
    for split in info.splits:
        one = Checked.total(
            split.name, [results[shard] for shard in shards if shard.split == split.name]
        )
        seen = one.episodes + len(one.faults)
        if split.episodes is not None and not one.faults and seen != split.episodes:
            fault = (
                f"{path} holds {seen} episodes of split {split.name} where {INFO_FILE} promises "
                f"{split.episodes}; copy or download the data set again"
            )
            one = Checked.total(split.name, [one, Checked(split.name, 0, 0, 0, (fault,))])
        found.append(one)
    return found


def told_of(path: Path) -> Iterator[str]:
    """Its features, and which episodes were left out when it was converted, a line each."""
    for key, feature in sorted(flatten(read_features(path)).items()):
        yield f"  {key:55} {np.dtype(feature.np_dtype).name:8} {feature.shape}"
    if (path / LEFT_OUT_FILE).is_file():
        left_out = json.loads((path / LEFT_OUT_FILE).read_text())
        yield f"{len(left_out)} faulty episodes were left out when it was converted:"
        yield from left_out[:_NAMED]


def _check_shard(shard: _Shard) -> Checked:
    check = EpisodeCheck(read_features(shard.path.parent), shard.finite)
    array_record = ".array_record-" in shard.path.name
    records = ArrayRecords([shard.path]) if array_record else TFRecords([shard.path])
    episodes = steps = size = 0
    faults: list[str] = []
    for number in range(len(records)):
        try:
            record = records[number]
            steps += check(record, f"episode {number} of {shard.path}")
        except ValueError as error:
            faults.append(str(error))
        else:
            episodes += 1
            size += len(record)
    return Checked(shard.split, episodes, steps, size, tuple(faults))
