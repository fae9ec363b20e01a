"""Pictures in any layout: right, or refused in a sentence; never black."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from selfflow_robotics.images.eight_bit import eight_bit

PICTURE = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), dtype=np.uint8)


def read_only() -> Any:
    made = PICTURE.copy()
    made.flags.writeable = False
    return made


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (PICTURE, PICTURE),
        (PICTURE[:, ::-1, ::-1], PICTURE[:, ::-1, ::-1]),
        (PICTURE[..., ::-1], PICTURE[..., ::-1]),
        (np.asfortranarray(PICTURE), PICTURE),
        (read_only(), PICTURE),
        (np.moveaxis(PICTURE, -1, 1), PICTURE),
        (torch.from_numpy(PICTURE), PICTURE),
        (torch.from_numpy(PICTURE).permute(0, 3, 1, 2), PICTURE),
        (PICTURE.astype(np.float64) / 255, PICTURE),
        (PICTURE.astype(np.float32) / 255, PICTURE),
        ((PICTURE / 255).astype(np.float16), PICTURE),
        (torch.from_numpy(PICTURE / 255).requires_grad_(), PICTURE),
        (torch.ones(2, 2, 3, dtype=torch.bfloat16), np.full((2, 2, 3), 255, np.uint8)),
        (PICTURE.astype(np.int64), PICTURE),
        (PICTURE.tolist(), PICTURE),
        (PICTURE[..., :1], np.repeat(PICTURE[..., :1], 3, axis=-1)),
        (PICTURE[0], PICTURE[0]),
    ],
)
def test_what_is_right(given: Any, wanted: Any) -> None:
    made = eight_bit(given, "it")
    assert made.dtype == np.uint8 and made.flags.c_contiguous and made.flags.writeable
    np.testing.assert_array_equal(made, wanted)
    torch.from_numpy(made)  # neither an error nor a warning


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (PICTURE.astype(np.float32), r"float32 from 0 to 255"),
        (PICTURE / 127.5 - 1, r"float64 from -1 to 1"),
        (np.full((4, 4, 3), np.nan), "nan"),
        (np.full((4, 4, 3), np.inf), "inf"),
        (PICTURE.astype(np.int32) * 200, "int32"),
        (PICTURE.astype(np.uint16), "type uint16"),
        (PICTURE > 100, "type bool"),
        (PICTURE.astype(object), "type object"),
        ([[1, 2], [3]], "made an array"),
        (torch.zeros(4, 4, 3).to_sparse(), "made an array"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8, device="meta"), "made an array"),
        (None, "shape"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((2, 0, 4, 3), np.uint8), "shape"),
    ],
)
def test_what_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=rf"^it (has|cannot be) .*{said}"):
        eight_bit(given, "it")
