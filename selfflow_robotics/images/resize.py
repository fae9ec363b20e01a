"""Frames of any size to the size a model sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def covering_size(size: tuple[int, int], image_size: tuple[int, int]) -> tuple[int, int]:
    """The smallest (height, width) with the proportions of ``size`` that covers ``image_size``."""
    scale = max(image_size[0] / size[0], image_size[1] / size[1])
    return (
        max(image_size[0], round(size[0] * scale)),
        max(image_size[1], round(size[1] * scale)),
    )


def centre_crop(images: NDArray[np.uint8], image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """The middle (..., height, width, 3) of larger (..., h, w, 3) images."""
    top = (images.shape[-3] - image_size[0]) // 2
    left = (images.shape[-2] - image_size[1]) // 2
    return images[..., top : top + image_size[0], left : left + image_size[1], :]


def resize(images: NDArray[np.uint8], image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scales (S, h, w, 3) by area, keeping proportions, and crops the rest from the middle.

    Images of that (height, width) are returned as they are.
    """
    if images.shape[1:3] == tuple(image_size):
        return images
    height, width = covering_size((images.shape[1], images.shape[2]), image_size)
    scaled = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        for image in images
    ]
    return np.ascontiguousarray(centre_crop(np.stack(scaled), image_size))
