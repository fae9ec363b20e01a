"""`selfflow data convert rlds`: a TFRecord data set as ArrayRecord, with statistics."""

from __future__ import annotations

import os.path
from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import WholeDataConfig
from ..storage.keys import key

HELP = """Turn an RLDS data set from TFRecord into ArrayRecord, for random access.

Reads the folder that TFDS wrote (data: local, gs://, or any URL of fsspec) and writes the same
episodes, in the same order and bytes, to the folder "out", with action_spec.json, state_spec.json
and action_statistics.json beside them. Every checksum, every declared feature and what was written
are checked. Killed or out of disk space, run it again: it goes on where it was. No TensorFlow.
"""


@dataclass(frozen=True)
class Config:
    out: Path = key("folder to write")
    data: WholeDataConfig = field(default_factory=WholeDataConfig)
    workers: int | None = key("processes; one a CPU when null", None, least=1, most=1024)
    max_broken: float = key("greatest share of faulty episodes, which are left out", 0.0, most=1)


def run(config: Config) -> int:
    from ..data.rlds.conversion import convert
    from ..data.rlds.mappings import mapping_named

    source = os.path.expanduser(config.data.folder)
    mapping = None if config.data.mapping is None else mapping_named(config.data.mapping)
    done = convert(source, config.out, mapping, config.workers, config.max_broken)
    if done is None:
        print(f"{config.out} is converted already")
        return 0
    print(
        f"{done.episodes} episodes, {done.steps} steps, {done.num_bytes} bytes, all checked; "
        f"wrote {config.out}"
    )
    for fault in done.left_out:
        print(f"left out {fault}")
    if done.mapping is None:
        print(
            "no declared mapping fits, so no statistics were measured: give data.mapping=FILE.yaml"
        )
    elif done.measured:
        print(f'actions and states are as the mapping "{done.mapping}" declares them')
    else:
        print("the statistics are those that the source brings along")
    return 0
