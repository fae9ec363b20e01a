"""One stored episode: its bytes as the arrays of the keys that are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow_datasets.core.example_parser import ExampleParserNp

from selfflow_robotics.data.episode import require_finite
from selfflow_robotics.data.rlds.metadata import flatten


class RecordParser:
    """Reads some of the keys that a data set declares, as "steps/action"; images stay encoded."""

    def __init__(self, features: Any, keys: Iterable[str]) -> None:
        infos = flatten(features.get_serialized_info())
        self._parser = ExampleParserNp({key: infos[key] for key in keys})

    def __call__(self, record: bytes, where: str) -> Mapping[str, Any]:
        """The values of an episode by key; those of a step have the steps as their first axis.

        Raises:
            ValueError: it does not hold what was declared.
        """
        try:
            found: Mapping[str, Any] = self._parser.parse_example(record)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{where} does not hold what features.json promises ({reason}); "
                "write the data set again, or leave the episode out"
            ) from error
        lacking = [key for key, value in found.items() if value is None]
        if lacking:
            raise ValueError(
                f"{where} lacks {', '.join(lacking)}, which features.json promises; "
                "write the data set again, or leave the episode out"
            )
        return found


def columns(found: Mapping[str, Any], keys: Sequence[str], where: str) -> NDArray[np.float32]:
    """Numeric keys side by side, (S, entries of all keys).

    Args:
        found: what a :class:`RecordParser` returned.
        keys: relative to "steps".

    Raises:
        ValueError: a number is not finite, or the keys differ in their number of steps.
    """
    parts: list[NDArray[np.float32]] = []
    for key in keys:
        values = np.asarray(found[f"steps/{key}"], np.float32)
        values = values.reshape(len(values), -1)
        require_finite(values, key, where)
        parts.append(values)
    if len({len(values) for values in parts}) > 1:
        lengths = {key: len(values) for key, values in zip(keys, parts, strict=True)}
        raise ValueError(
            f"{where} has features of different lengths {lengths}; "
            "leave the episode out or write it again"
        )
    return np.concatenate(parts, axis=1)


def texts(values: NDArray[Any], where: str) -> tuple[str, ...]:
    """Instructions, one a step: stored as text, or as Language-Table does, as rows of UTF-8 bytes.

    Args:
        values: (S,) of bytes, (S, 1) of them, or (S, length) of integers that end in zeros.

    Raises:
        ValueError: they are neither.
    """
    if values.ndim == 2 and values.shape[1] == 1 and values.dtype == object:
        values = values[:, 0]
    if values.ndim == 1 and all(isinstance(text, bytes) for text in values):
        return tuple(text.decode(errors="replace") for text in values)
    if values.ndim != 2 or values.dtype == object:
        raise ValueError(
            f"{where} has instructions of shape {values.shape} and type {values.dtype}; store one "
            "text a step"
        )
    rows = (bytes(row[row != 0].astype(np.uint8)) for row in values)
    return tuple(row.decode(errors="replace") for row in rows)
