"""Which episodes are never trained on."""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

HELD_OUT_PERCENT = 5


def split_of(episode: str | int) -> Literal["train", "held-out"]:
    """The side an episode is on; it does not change when a data set grows.

    Args:
        episode: an episode's id, or its number i, which stands for "train/i".

    Returns:
        "held-out" for 5% of all ids, "train" for the others.
    """
    name = f"train/{episode}" if isinstance(episode, int) else episode
    number = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
    return "held-out" if number % 100 < HELD_OUT_PERCENT else "train"
