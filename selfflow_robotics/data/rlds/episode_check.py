"""Does a stored episode hold what its data set declares?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.episode import require_finite
from selfflow_robotics.data.rlds.metadata import flatten

_REMEDY = "leave the episode out or write it again"


class EpisodeCheck:
    """Finds what is wrong with records of a data set, without decoding images.

    Every declared feature must be there, of the declared type, with as many rows as there are
    steps; the numbers of every feature that acts ("steps/action...") must be finite, and those of
    the keys `finite`, as "steps/observation/state".
    """

    def __init__(self, features: Any, finite: Iterable[str] = ()) -> None:
        infos = flatten(features.get_serialized_info())
        kinds = {key: type(feature).__name__ for key, feature in flatten(features).items()}
        self._infos = {k: info for k, info in infos.items() if kinds.get(k) != "Optional"}
        self._finite = {key for key in self._infos if key.startswith("steps/action")} | set(finite)

    def __call__(self, record: bytes, where: str) -> int:
        """The number of steps of one episode, which is called `where` in messages.

        Raises:
            ValueError: what is wrong, and with which key.
        """
        try:
            stored = tf_example_pb2.Example.FromString(record).features.feature
        except Exception as error:
            raise ValueError(f"{where} is no tf.train.Example; {_REMEDY}") from error
        rows: dict[str, int] = {}
        for key, info in self._infos.items():
            if sum(size is None for size in info.shape) > 1:
                if not any(name == key or name.startswith(f"{key}/ragged") for name in stored):
                    raise _lacking(key, where)
                continue
            values = self._values(stored, key, info, where)
            if key.startswith("steps/"):
                per_step = int(np.prod(info.shape[1:], dtype=np.int64))
                if len(values) % per_step:
                    raise ValueError(
                        f"{where} has {len(values)} numbers in {key}, which is no multiple of the "
                        f"{per_step} a step that features.json promises; {_REMEDY}"
                    )
                rows[key] = len(values) // per_step
            if key in self._finite:
                numbers = np.asarray(values, np.float64)
                per_step = int(np.prod(info.shape[1:], dtype=np.int64))
                require_finite(numbers.reshape(-1, per_step), key.removeprefix("steps/"), where)
        return _steps(rows, where)

    def _values(self, stored: Any, key: str, info: Any, where: str) -> Any:
        kind = stored[key].WhichOneof("kind") if key in stored else None
        empty_is_known = key.startswith("steps/") or None in info.shape
        if key not in stored or (kind is None and not empty_is_known):
            raise _lacking(key, where)
        wanted = _kind_of(info.np_dtype)
        if kind not in (wanted, None):
            raise ValueError(
                f"{where} has {key} as {kind} where features.json promises "
                f"{np.dtype(info.np_dtype).name} ({wanted}); {_REMEDY}"
            )
        values: Any = getattr(stored[key], wanted).value
        if None not in info.shape and len(values) != np.prod(info.shape, dtype=np.int64):
            raise ValueError(
                f"{where} has {len(values)} values in {key} where features.json promises a shape "
                f"of {info.shape}; {_REMEDY}"
            )
        return values


def _kind_of(dtype: Any) -> str:
    if np.issubdtype(dtype, np.floating):
        return "float_list"
    if np.issubdtype(dtype, np.integer) or np.issubdtype(dtype, np.bool_):
        return "int64_list"
    return "bytes_list"


def _lacking(key: str, where: str) -> ValueError:
    return ValueError(f"{where} lacks {key}, which features.json promises; {_REMEDY}")


def _steps(rows: dict[str, int], where: str) -> int:
    if not rows or max(rows.values()) == 0:
        raise ValueError(f"{where} has no steps; leave it out of the data set")
    counts = list(rows.values())
    usual = max(set(counts), key=counts.count)
    other = {key: count for key, count in rows.items() if count != usual}
    if other:
        raise ValueError(
            f"{where} has {usual} steps but features of different lengths {other}; {_REMEDY}"
        )
    return usual
