"""A TFRecord data set as ArrayRecord: the same records in the same order, for random access.

Every shard becomes one shard. It is written beside and renamed when each of its records has been
verified, with what the statistics need of it kept in a hidden folder; `dataset_info.json` comes
last. So a conversion that was killed at any moment goes on where it was, and until it ends the
folder is no data set.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from selfflow_robotics.data.mapped_source import ACTION_SPEC_FILE, STATE_SPEC_FILE
from selfflow_robotics.data.rlds.conversion_source import ConversionSource
from selfflow_robotics.data.rlds.mapping_fit import fitting_mapping, require_fit
from selfflow_robotics.data.rlds.mappings import RldsMapping
from selfflow_robotics.data.rlds.metadata import INFO_FILE, DatasetInfo, flatten
from selfflow_robotics.data.rlds.shard_conversion import (
    WORK_FOLDER,
    Shard,
    ShardContent,
    convert_shard,
    require_written,
)
from selfflow_robotics.data.rlds.shard_pool import on_every_shard
from selfflow_robotics.data.rlds.statistics import STATISTICS_FILE, published_form
from selfflow_robotics.storage.one_writer import only_writer
from selfflow_robotics.storage.whole_file import write_whole

LEFT_OUT_FILE = "left_out.json"
_BEGUN_FILE = "begun.json"
_NAMED_FAULTS = 10


@dataclass(frozen=True)
class Converted:
    """What a conversion found and wrote."""

    episodes: int
    steps: int
    num_bytes: int  # of all records
    mapping: str | None  # what says which features are actions and states
    measured: bool  # whether statistics were; else the source brings them, or no mapping fits
    left_out: tuple[str, ...] = ()  # a sentence for every faulty episode that was


def convert(
    source: str,
    out: Path,
    mapping: RldsMapping | None = None,
    workers: int | None = None,
    max_broken: float = 0.0,
) -> Converted | None:
    """Convert a data set, or go on with a conversion that was interrupted.

    Args:
        source: folder that TFDS wrote, local or any URL of fsspec.
        mapping: which features are actions and states, for the statistics; when None, the declared
            mapping that fits, or no statistics where none does.
        workers: processes; one a CPU when None.
        max_broken: greatest share of episodes that may be faulty; they are left out, and named in
            the folder's left_out.json. Those behind them in a split have other numbers then.

    Returns:
        What was converted; None where all of it was before.

    Raises:
        FileNotFoundError: the source lacks a file.
        FileExistsError: out holds something else.
        BlockingIOError: another process converts into out.
        ValueError: the data is faulty; every fault names file and episode. What was sound is kept.
        OutputError: out cannot be written, because the disk is full. What was written is kept.
    """
    if not 0 <= max_broken <= 1:
        raise ValueError(f"max_broken={max_broken} is no share; give a number between 0 and 1")
    found = ConversionSource.open(source)
    shards = found.shards(out)
    features = flatten(found.features())
    if mapping is not None and not mapping.actions:
        raise ValueError(
            f'the mapping "{mapping.name}" reads no actions, whose statistics a conversion '
            "measures; leave data.mapping out"
        )
    chosen = mapping or fitting_mapping(features)
    if chosen is not None:
        require_fit(chosen, features, source)
    with only_writer(out):
        if (out / INFO_FILE).is_file():
            _require_finished(found, out)
            return None
        _begin(found, out, mapping)
        missing = [shard for shard in shards if not shard.is_done]
        work = partial(convert_shard, mapping=chosen, leave_out=max_broken > 0)
        _convert_all(missing, work, workers)
        return _finish(found, out, shards, chosen, max_broken)


def _begin(found: ConversionSource, out: Path, mapping: RldsMapping | None) -> None:
    """Prepare the work folder, or take it over from a conversion that was interrupted."""
    work = out / WORK_FOLDER
    begun = json.dumps(
        {"source": found.digest, "mapping": hashlib.sha256(repr(mapping).encode()).hexdigest()}
    )
    if work.is_dir() and (work / _BEGUN_FILE).is_file():
        if (work / _BEGUN_FILE).read_text() != begun:
            raise FileExistsError(
                f"{out} holds an unfinished conversion of another source, or of this one before it "
                "changed, or with another mapping; name another folder or remove it first"
            )
    elif others := [path.name for path in out.iterdir() if path.name != WORK_FOLDER]:
        raise FileExistsError(
            f"{out} exists already and holds {others[0]}; name another folder or remove it first"
        )
    with require_written(work):
        work.mkdir(exist_ok=True)
        for name, content in found.metadata.items():
            write_whole(work / name, content)
        write_whole(work / _BEGUN_FILE, begun)


def _convert_all(shards: list[Shard], work: partial[int], workers: int | None) -> None:
    if not shards:
        return
    faults = [
        str(result)
        for _, result in on_every_shard(work, shards, workers, "convert")
        if isinstance(result, ValueError)
    ]
    if faults:
        raise ValueError(
            f"{len(faults)} shards could not be converted; the others are kept, "
            "and the same command goes on with these once they are mended:\n"
            f"{_first(sorted(faults))}"
        )


def _finish(
    found: ConversionSource,
    out: Path,
    shards: list[Shard],
    mapping: RldsMapping | None,
    max_broken: float,
) -> Converted:
    contents = {shard: ShardContent.load(shard.content_file) for shard in shards}
    left_out = tuple(str(one) for content in contents.values() for one in content.left_out)
    kept = sum(len(content.lengths) for content in contents.values())
    _require_few(left_out, kept + len(left_out), max_broken, out)
    per_split: dict[str, tuple[list[int], int]] = {}
    for split in found.info.splits:
        own = [contents[shard] for shard in shards if shard.split == split.name]
        per_split[split.name] = ([len(c.lengths) for c in own], sum(c.num_bytes for c in own))
        episodes = sum(per_split[split.name][0]) + sum(len(c.left_out) for c in own)
        if split.episodes is not None and episodes != split.episodes:
            raise ValueError(
                f"the shards of {found.url} hold {episodes} episodes of split {split.name} where "
                f"its {INFO_FILE} promises {split.episodes}; copy or download the data set again"
            )
    measured = mapping is not None and ACTION_SPEC_FILE not in found.metadata
    with require_written(out):
        if mapping is not None and measured:
            _write_statistics(out, list(contents.values()), mapping, len(left_out))
        if left_out:
            write_whole(out / LEFT_OUT_FILE, json.dumps(left_out, indent=1) + "\n")
        for name, content in found.metadata.items():
            if name != INFO_FILE:
                write_whole(out / name, content)
        write_whole(out / INFO_FILE, found.info.as_array_record(per_split))
        shutil.rmtree(out / WORK_FOLDER)
    return Converted(
        kept,
        sum(int(c.lengths.sum()) for c in contents.values()),
        sum(size for _, size in per_split.values()),
        None if mapping is None else mapping.name,
        measured,
        left_out,
    )


def _require_few(left_out: tuple[str, ...], total: int, max_broken: float, out: Path) -> None:
    if len(left_out) > max_broken * total or (left_out and len(left_out) == total):
        raise ValueError(
            f"{len(left_out)} of {total} episodes are faulty, more than the allowed share of "
            f"{max_broken:g}; allow a greater share (max_broken), or mend them, remove {out} and "
            f"convert again:\n{_first(left_out)}"
        )


def _first(faults: Sequence[str]) -> str:
    more = len(faults) - _NAMED_FAULTS
    return "\n".join(faults[:_NAMED_FAULTS]) + (f" and {more} more" if more > 0 else "")


def _write_statistics(
    out: Path, contents: list[ShardContent], mapping: RldsMapping, left_out: int
) -> None:
    """The specifications as the reader uses them, and the statistics as others publish them.

    The specification describes actions as they are stored and read, a relative gripper with its
    full range; only the published form has the gripper made absolute.
    """
    some = [content for content in contents if len(content.lengths)]
    actions = np.concatenate([content.actions for content in some])
    states = np.concatenate([content.states for content in some])
    lengths = np.concatenate([content.lengths for content in contents]).tolist()
    spec = mapping.action_spec.with_statistics(actions)
    files = {ACTION_SPEC_FILE: spec.to_json()}
    if mapping.state_spec is not None:
        files[STATE_SPEC_FILE] = mapping.state_spec.with_statistics(states).to_json()
    kept = None if mapping.state_spec is None else states
    published = published_form(spec, actions, kept, mapping.state_spec, lengths)
    files[STATISTICS_FILE] = published | ({"num_left_out": left_out} if left_out else {})
    for name, content in files.items():
        write_whole(out / name, json.dumps(content, indent=1) + "\n")


def _require_finished(found: ConversionSource, out: Path) -> None:
    """Refuse a folder that is not this source converted; clear what a kill at the end left."""
    info = DatasetInfo.read(out)
    same = info.file_format == "array_record" and all(
        (out / name).is_file() and (out / name).read_bytes() == content
        for name, content in found.metadata.items()
        if name != INFO_FILE
    )
    if not same or [s.name for s in info.splits] != [s.name for s in found.info.splits]:
        raise FileExistsError(
            f"{out} is another data set already; name another folder or remove it first"
        )
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
