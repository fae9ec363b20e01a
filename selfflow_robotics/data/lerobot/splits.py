"""Which episodes belong to a split, where `meta/info.json` and the listed episodes disagree too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def episodes_of(
    splits: Mapping[str, Any], listed: Sequence[int]
) -> tuple[dict[str, tuple[int, ...]], str | None]:
    """The numbers of each split's episodes.

    "0:80" counts the listed episodes, or tells their numbers where some were removed. A single
    split that fits neither way has all that are listed: LeRobot never reads "splits", and many
    converters write a constant.

    Args:
        splits: ends of each split, as "0:80".
        listed: numbers of all episodes, rising.

    Returns:
        The episodes, and what to say of `meta/info.json` where a split was not taken at its word.

    Raises:
        ValueError: a split is not of that form, or several do not fit what is listed; the message
            is the end of a sentence about `meta/info.json`.
    """
    ranges = {name: _range(name, ends) for name, ends in splits.items()}
    if _exactly(ranges, range(len(listed))):
        return {name: tuple(listed[r.start : r.stop]) for name, r in ranges.items()}, None
    if _exactly(ranges, listed):
        return {name: tuple(n for n in listed if n in r) for name, r in ranges.items()}, None
    if len(ranges) == 1:
        ((name, ends),) = splits.items()
        surprise = (
            f'says that split "{name}" is "{ends}", but meta/ lists {len(listed)} episodes: all '
            "of them are read"
        )
        return {name: tuple(listed)}, surprise
    raise ValueError(
        f"has the splits {dict(splits)}, which are not the {len(listed)} episodes that meta/ "
        "lists; write there which episodes belong to each"
    )


def _exactly(ranges: Mapping[str, range], numbers: Sequence[int]) -> bool:
    """Whether ranges hold all these numbers, and end where they end."""
    found = list(ranges.values())
    end = max((r.stop for r in found if r.start < r.stop), default=0)
    return end == max(numbers, default=-1) + 1 and all(
        any(number in r for r in found) for number in numbers
    )


def _range(name: str, ends: Any) -> range:
    first, colon, last = str(ends)[:40].partition(":")
    if not (colon and first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise ValueError(f'says that split "{name}" is "{str(ends)[:40]}"; it must be like "0:100"')
    return range(int(first), int(last))
