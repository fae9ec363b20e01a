"""What a check of stored episodes found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


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
