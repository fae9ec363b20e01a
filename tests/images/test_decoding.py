"""JPEGs decode as Pillow decodes them; other images and broken ones are told apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from selfflow_robotics.images.decoding import decode_image

PIXELS = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)).resize((50, 40))
)


def encoded(mode: str = "RGB", kind: str = "JPEG", **more: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(buffer, kind, **more)
    return buffer.getvalue()


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_equal_to_pillow(mode: str, subsampling: int) -> None:
    data = encoded(mode, quality=85, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decode_image(data), expected)


def test_png_is_exact() -> None:
    np.testing.assert_array_equal(decode_image(encoded(kind="PNG")), PIXELS)


def test_pixels_go_where_they_fit() -> None:
    data = encoded(quality=85)
    images = np.zeros((2, 40, 50, 3), np.uint8)
    found = decode_image(data, images[1])
    assert np.shares_memory(found, images)
    np.testing.assert_array_equal(images[1], decode_image(data))
    assert not images[0].any()
    assert not np.shares_memory(decode_image(data, images[1, :30]), images)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8 no", encoded()[:-40]])
def test_what_is_no_image(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_image(data)
