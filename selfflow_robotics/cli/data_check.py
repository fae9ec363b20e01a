"""`selfflow data check`: is an RLDS data set whole and sound?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

HELP = """Check every episode of an RLDS data set against what the data set declares.

Reads a folder that TFDS wrote, ArrayRecord or TFRecord: that all shards are there, every record's
checksum, that every declared feature is in every episode with its type and a row a step, that
actions and states are finite. Writes nothing. The exit status is 1 where something is wrong.
"""

_NAMED = 20


@dataclass(frozen=True)
class Config:
    """Configuration of `selfflow data check`."""

    path: Path = field(metadata={"help": "folder that holds features.json"})
    mapping: str | None = field(
        default=None,
        metadata={"help": "what actions and states are: a name or a YAML; null: whichever fits"},
    )
    workers: int | None = field(default=None, metadata={"help": "processes; one a CPU when null"})


def run(config: Config) -> int:
    """Check and print a summary."""
    import numpy as np

    from ..data.rlds.dataset_check import check_dataset
    from ..data.rlds.features import flatten, read_features
    from ..data.rlds.mappings import mapping_named

    mapping = None if config.mapping is None else mapping_named(config.mapping)
    splits = check_dataset(config.path, mapping, config.workers)
    for split in splits:
        print(
            f"{split.split:12} {split.episodes:8} episodes {split.steps:10} steps "
            f"{split.num_bytes:14} bytes {len(split.faults):4} faults"
        )
    for key, feature in sorted(flatten(read_features(config.path)).items()):
        print(f"  {key:55} {np.dtype(feature.np_dtype).name:8} {feature.shape}")
    faults = [fault for split in splits for fault in split.faults]
    if not faults:
        return 0
    more = f"\nand {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    named = "\n".join(faults[:_NAMED])
    raise ValueError(f"{config.path} has {len(faults)} faults:\n{named}{more}")
