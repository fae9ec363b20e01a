"""`selfflow data check`: is a data set, or a latent cache, whole and sound?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from .dataset import WholeDataConfig, one_data_set

HELP = """Check every episode of a data set, or every byte of a latent cache.

Reads (data) an RLDS data set (all shards, every record's checksum, every declared feature in every
episode with its type and a row a step), a LeRobot data set (every episode as training reads it, its
video decoded) or a latent cache (every block's checksum): that nothing is missing or changed, and
actions and states are finite. Writes nothing. The exit status is 1 where something is wrong.
"""

_NAMED = 20


@dataclass(frozen=True)
class Config:
    """Configuration of `selfflow data check`."""

    data: WholeDataConfig = field(default_factory=WholeDataConfig)
    workers: int | None = field(
        default=None, metadata={"from": 1, "to": 1024, "help": "processes; one a CPU when null"}
    )


def run(config: Config) -> int:
    """Check and print a summary."""
    from ..data.latents.cache_check import check_cache, is_cache
    from ..data.lerobot.dataset_check import check_lerobot
    from ..data.lerobot.meta import INFO_FILE
    from ..data.rlds.conversion import LEFT_OUT_FILE
    from ..data.rlds.dataset_check import check_dataset
    from ..data.rlds.mappings import mapping_named

    path, named = Path(one_data_set(config.data.path)).expanduser(), config.data.mapping
    latents = is_cache(path)
    if latents:
        splits = check_cache(path)
    elif (path / INFO_FILE).is_file():
        splits = check_lerobot(path, named or "rt1")
    else:
        mapping = None if named is None else mapping_named(named)
        splits = check_dataset(path, mapping, config.workers)
    steps = "frames" if latents else "steps"
    for split in splits:
        print(
            f"{split.split:12} {split.episodes:8} episodes {split.steps:10} {steps} "
            f"{split.num_bytes:14} bytes {len(split.faults):4} faults"
        )
    if (path / "features.json").is_file():
        _show_features(path)
    if (path / LEFT_OUT_FILE).is_file():
        left_out = json.loads((path / LEFT_OUT_FILE).read_text())
        print(f"{len(left_out)} faulty episodes were left out when it was converted:")
        print("\n".join(left_out[:_NAMED]))
    faults = [fault for split in splits for fault in split.faults]
    if not faults:
        return 0
    more = f"\nand {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    shown = "\n".join(faults[:_NAMED])
    raise ValueError(f"{path} has {len(faults)} faults:\n{shown}{more}")


def _show_features(path: Path) -> None:
    import numpy as np

    from ..data.rlds.features import flatten, read_features

    for key, feature in sorted(flatten(read_features(path)).items()):
        print(f"  {key:55} {np.dtype(feature.np_dtype).name:8} {feature.shape}")
