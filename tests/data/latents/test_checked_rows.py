from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from selfflow_robotics.data.latents.checked_rows import CheckedRows, checksums_of

PATH = Path("cache/part-00003/latents.npy")


def test_a_block_that_changed_is_named_and_the_others_can_be_read() -> None:
    rows = np.random.default_rng(0).standard_normal((100, 4, 32, 40)).astype(np.float16)
    checksums = checksums_of(rows)
    whole, changed = rows.copy(), rows.copy()
    changed[60, 1, 2, 3] += 1
    checked = CheckedRows(changed, checksums, PATH)
    assert np.array_equal(checked[0:25], whole[:25])
    with pytest.raises(ValueError, match=r"frames 50 to 74 changed .*remove cache/part-00003 and"):
        checked[48:56]
    with pytest.raises(ValueError, match="frames 50 to 74"):
        checked.check()
    CheckedRows(whole, checksums, PATH).check()


def test_a_row_larger_than_a_block_is_one() -> None:
    rows = np.zeros((3, 600_000), np.float16)
    assert checksums_of(rows).shape == (3,)
    assert np.array_equal(CheckedRows(rows, checksums_of(rows), PATH)[1:3], rows[1:3])


def test_other_lengths_are_refused() -> None:
    rows = np.zeros((100, 4, 32, 40), np.float16)
    with pytest.raises(ValueError, match="it has 99 rows and 5 checksums"):
        CheckedRows(rows[:99], np.zeros(5, np.uint32), PATH)
