"""Stored images as pixels."""

from __future__ import annotations

import io
import warnings

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from selfflow_robotics.images.eight_bit import MOST_PIXELS

_JPEG = b"\xff\xd8"


def decode_image(data: bytes, into: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """A JPEG or PNG as (height, width, 3) RGB.

    JPEG goes straight to libjpeg-turbo, with the values that Pillow gives and in half its time;
    other threads run meanwhile. The pixels are put `into` an array if they have its size.

    Raises:
        ValueError: the bytes are no such image, or damaged.
    """
    if data[:2] == _JPEG:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        _require_possible(height, width)
        fits = into is not None and into.shape == (height, width, 3)
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, buffer=into if fits else None)
        return pixels
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we have a limit too
            with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                _require_possible(image.height, image.width)
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"its pixels are of the kind {image.mode}, not of eight bits")
                return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"no JPEG or PNG, or a damaged one ({error})") from error


def _require_possible(height: int, width: int) -> None:
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"it declares {width}x{height} pixels, more than {MOST_PIXELS // 10**6} million"
        )
