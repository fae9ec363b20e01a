"""`selfflow data check`: is a data set, or a latent cache, whole and sound?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import WholeDataConfig
from ..storage.keys import key

HELP = """Check every episode of a data set, or every byte of a latent cache.

Reads (data) an RLDS data set (all shards, every record's checksum, every declared feature in every
episode with its type and a row a step), a LeRobot data set (every episode as training reads it, its
video decoded) or a latent cache (every block's checksum): that nothing is missing or changed, and
actions and states are finite. Writes nothing. The exit status is 1 where something is wrong.
"""


@dataclass(frozen=True)
class Config:
    data: WholeDataConfig = field(default_factory=WholeDataConfig)
    workers: int | None = key("processes; one a CPU when null", None, least=1, most=1024)


def run(config: Config) -> int:
    from ..data.checked import require_sound
    from ..data.formats import format_of

    path = Path(config.data.folder).expanduser()
    kind = format_of(path, config.data.mapping)
    found = kind.check(path, config.data.mapping, config.workers)
    for split in found:
        print(
            f"{split.split:12} {split.episodes:8} episodes {split.steps:10} {kind.steps} "
            f"{split.num_bytes:14} bytes {len(split.faults):4} faults"
        )
    for line in kind.told_of(path):
        print(line)
    require_sound(path, found)
    return 0
