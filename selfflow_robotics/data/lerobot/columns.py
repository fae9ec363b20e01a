"""Columns of a parquet file as numbers, whichever way a writer stored them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from selfflow_robotics.data.episode import require_finite


def scalars(column: pa.ChunkedArray, key: str, where: str) -> pa.Array:
    """One number a row; some writers store them as lists of one.

    Raises:
        ValueError: a value lacks, or is no number, or rows hold several.
    """
    return _numbers(column, key, where, 1)


def matrix(column: pa.ChunkedArray, key: str, where: str, size: int) -> NDArray[np.float32]:
    """(rows, size) numbers.

    Raises:
        ValueError: a value lacks, is not finite or no number, or a row holds not so many.
    """
    array, count = _numbers(column, key, where, None), len(column)
    if len(array) != count * size:
        raise ValueError(
            f"{where} has {key} of {len(array) / max(count, 1):g} numbers a step, where "
            f"meta/info.json declares {size}; mend the one that is wrong"
        )
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = array.to_numpy(zero_copy_only=False).astype(np.float32)
    values = values.reshape(count, size)
    require_finite(values, key, where)
    return values


def _flat(array: pa.Array, key: str, where: str, size: int | None) -> pa.Array:
    """One level of lists less; all of one size, of which they must be where it is given."""
    _require_all(array, key, where)
    kind = array.type
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        raise ValueError(f"{where} holds {key} as {kind}, no numbers; write the data set again")
    sizes = pc.unique(pc.list_value_length(array)).to_pylist()
    if len(sizes) > 1:
        raise ValueError(
            f"{where} has {key} of different sizes; leave the episode out or write it again"
        )
    if size is not None and sizes not in ([], [size]):
        raise ValueError(
            f"{where} has {key} as lists of {sizes[0]} numbers, where one is due; "
            "write the data set again"
        )
    return pc.list_flatten(array)


def _numbers(column: pa.ChunkedArray, key: str, where: str, size: int | None) -> pa.Array:
    array = column.combine_chunks()
    while pa.types.is_nested(array.type):
        array = _flat(array, key, where, size)
    _require_all(array, key, where)
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise ValueError(f"{where} holds {key} as {kind}, no numbers; write the data set again")
    return array


def _require_all(array: pa.Array, key: str, where: str) -> None:
    if array.null_count:
        raise ValueError(
            f"{where} lacks {key} at some step; leave the episode out or write it again"
        )
