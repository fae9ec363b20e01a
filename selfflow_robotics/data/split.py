"""Which episodes are never trained on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Literal

from .episode import Dataset, Episode, Episodes

HELD_OUT_PERCENT = 5
Side = Literal["train", "held-out"]
SIDES: tuple[Side, Side] = ("train", "held-out")


def split_of(episode: str | int) -> Side:
    """The side an episode is on; it does not change when a data set grows.

    Args:
        episode: an episode's id, or its number i, which stands for "train/i".

    Returns:
        "held-out" for 5% of all ids, "train" for the others.
    """
    name = f"train/{episode}" if isinstance(episode, int) else episode
    number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
    return "held-out" if number % 100 < HELD_OUT_PERCENT else "train"


class OneSide:
    """The episodes of a data set on one side of the split by episode."""

    def __init__(self, source: Dataset, side: Side) -> None:
        self.source = source
        self.name = f"{source.name} {side}"
        self.image_size = source.image_size
        self.side = side
        self.index = [i for i in range(len(source)) if split_of(f"{source.split}/{i}") == side]

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`."""
        return {**self.source.identity, "side": self.side}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Episode:
        return self.source[self.index[i]]


def sides(sources: Iterable[Dataset], side: Side) -> list[OneSide]:
    """That side of each data set which has episodes on it."""
    return [found for one in sources if len(found := OneSide(one, side))]


class Fewer:
    """At most so many episodes, evenly spread."""

    def __init__(self, episodes: Episodes, most: int) -> None:
        self.episodes = episodes
        self.step = max(1.0, len(episodes) / most)

    def __len__(self) -> int:
        return int(len(self.episodes) / self.step)

    def __getitem__(self, i: int) -> Episode:
        return self.episodes[int(i * self.step)]
