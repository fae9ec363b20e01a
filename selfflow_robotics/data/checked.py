"""What a check of stored episodes found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_NAMED = 20


@dataclass(frozen=True)
class Checked:
    """What a split holds, and what is wrong with it."""

    split: str
    episodes: int  # sound ones
    steps: int
    num_bytes: int
    faults: tuple[str, ...]  # a sentence each

    @classmethod
    def total(cls, split: str, parts: Iterable[Checked]) -> Checked:
        """All parts as one."""
        found = list(parts)
        return cls(
            split,
            sum(part.episodes for part in found),
            sum(part.steps for part in found),
            sum(part.num_bytes for part in found),
            tuple(fault for part in found for fault in part.faults),
        )


def require_sound(path: Path, found: Sequence[Checked]) -> None:
    """Refuse what a check found faults in.

    Raises:
        ValueError: it names the first ones.
    """
    faults = [fault for split in found for fault in split.faults]
    if faults:
        more = f"\nand {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        shown = "\n".join(faults[:_NAMED])
        raise ValueError(f"{path} has {len(faults)} faults:\n{shown}{more}")
