"""Pictures as users and their simulators hand them over, as pixels of eight bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

MOST_PIXELS = 8192 * 4320
"""Of a picture, 8K: files that declare more are refused before anything is allocated."""


def eight_bit(given: Any, where: str) -> NDArray[np.uint8]:
    """Pictures of any layout as (..., height, width, 3) uint8, in memory of their own kind.

    Numbers from 0 to 1 become levels from 0 to 255; floats beyond are refused, since a dark picture
    could be either. One channel counts for all three; channels may come first.

    Args:
        given: an array or a tensor; flipped views, and arrays that may not be written to, too.
        where: what the pictures are called in messages.

    Returns:
        The array itself where nothing is to be changed.

    Raises:
        ValueError: another shape, type or range.
    """
    images = _array(given, where)
    shape = images.shape
    if images.ndim >= 3 and shape[-1] not in (1, 3) and shape[-3] in (1, 3):
        images = np.moveaxis(images, -3, -1)
    if images.ndim < 3 or images.shape[-1] not in (1, 3) or 0 in shape[-3:]:
        raise ValueError(
            f"{where} has shape {shape}; give pictures of (height, width, 3), red, green and blue"
        )
    if images.dtype != np.uint8:
        images = _levels(images, where)
    if images.shape[-1] == 1:
        images = np.repeat(images, 3, axis=-1)
    if not (images.flags.c_contiguous and images.flags.writeable):
        images = images.copy(order="C")
    return images


def eight_bit_tensor(given: Any, where: str) -> Tensor:
    """`eight_bit` as a tensor; one that is of that kind already stays on its device.

    Raises:
        ValueError: another shape, type or range.
    """
    import torch

    if (
        isinstance(given, torch.Tensor)
        and (given.dtype, given.layout) == (torch.uint8, torch.strided)
        and given.ndim >= 3
        and given.shape[-1] == 3
        and not given.is_meta
    ):
        return given
    return torch.from_numpy(eight_bit(given, where))


def _array(given: Any, where: str) -> NDArray[Any]:
    try:
        if hasattr(given, "detach"):
            given = given.detach().cpu()
            given = (given.float() if given.is_floating_point() else given).numpy()
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged, sparse, without memory
        raise ValueError(
            f"{where} cannot be made an array ({str(error).splitlines()[0][:100]}); give pictures "
            "of (height, width, 3), red, green and blue"
        ) from None


def _levels(images: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if images.dtype.kind not in "fi":
        raise ValueError(
            f"{where} has numbers of type {images.dtype}; give uint8, or floats from 0 to 1"
        )
    low, high = (float(images.min()), float(images.max())) if images.size else (0.0, 0.0)
    highest = 1.0 if images.dtype.kind == "f" else 255.0
    if not (low >= 0 and high <= highest):  # nor NaN
        raise ValueError(
            f"{where} has {images.dtype} from {low:.4g} to {high:.4g}; give uint8, or floats from "
            "0 to 1"
        )
    levels: NDArray[np.uint8] = np.rint(images * (255.0 / highest)).astype(np.uint8)
    return levels
