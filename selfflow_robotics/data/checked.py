"""What a check of stored episodes found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .episode import Dataset

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


def check_episodes(source: Dataset) -> Checked:
    """Every episode as training reads it; bytes are those of images, actions and states."""
    bar = tqdm(range(len(source)), f"check {source.name}", unit="episode")
    return Checked.total(source.split, (_check_episode(source, index) for index in bar))


def _check_episode(source: Dataset, index: int) -> Checked:
    try:
        episode = source[index]
    except (ValueError, FileNotFoundError) as error:
        return Checked(source.split, 0, 0, 0, (str(error),))
    read = (episode.images, episode.actions, episode.states)
    size = sum(array.nbytes for array in read if array is not None)
    return Checked(source.split, 1, len(episode), size, ())


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
