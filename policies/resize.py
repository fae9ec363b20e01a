"""Camera images at the size a world model sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize(images: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale images, antialiased; those of the right size are returned as they are.

    Args:
        images: (B, height, width, 3).
        size: (height, width) wanted.

    Returns:
        (B, *size, 3).
    """
    if images.shape[1:3] == size:
        return images
    height, width = size
    scaled = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        for image in images
    ]
    return np.stack(scaled)
