"""Pictures of any size made the size that a network reads: scaled, the rest cropped or padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .eight_bit import eight_bit_tensor
from .resize import resize

How = Literal["crop", "pad"]


@dataclass(frozen=True)
class ImageFit:
    """How pictures become `size` (height, width); proportions are kept either way.

    "crop" scales a picture to cover the size and keeps its middle; "pad" scales it to lie inside
    and fills what is left, at both sides alike, with black.

    Raises:
        ValueError: a side below 1, or another word than these two.

    Example:
        >>> ImageFit((64, 80), "pad")(np.zeros((1, 480, 640, 3), np.uint8)).shape
        (1, 64, 80, 3)
    """

    size: tuple[int, int]
    how: How = "crop"

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1:
            raise ValueError(f"image_size={list(self.size)}: give height and width from 1 on")
        if self.how not in get_args(How):
            raise ValueError(f'image_fit="{self.how}" is unknown; choose crop or pad')

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(S, h, w, 3) uint8 to (S, height, width, 3); those of that size as they are."""
        if self.how == "crop" or images.shape[1:3] == self.size:
            return resize(images, self.size)
        height, width = _inside((images.shape[1], images.shape[2]), self.size)
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        out = np.zeros((len(images), *self.size, 3), np.uint8)
        for row, image in zip(out, images, strict=True):
            stored = Image.fromarray(np.ascontiguousarray(image))
            scaled = np.asarray(stored.resize((width, height), Image.Resampling.BOX))
            row[top : top + height, left : left + width] = scaled
        return out

    def described(self, given: tuple[int, int]) -> str:
        """What becomes of pictures of a size, as a sentence's end."""
        (height, width), (h, w) = given, self.size
        if self.how == "crop":
            scale = max(h / height, w / width)
            kept = min(1.0, h / (height * scale)) * min(1.0, w / (width * scale))
            rest = "" if kept > 0.9999 else f", of which the middle {kept:.1%} is kept"
        else:
            inside = _inside(given, self.size)
            scale = min(h / height, w / width)
            black = 1 - inside[0] * inside[1] / (h * w)
            rest = "" if black < 0.0001 else f", with black at the edges ({black:.1%} of it)"
        scaled = "" if abs(scale - 1) < 0.002 else f"scaled by {scale:.3g}"
        done = " and ".join(part for part in (scaled, f"{self.how}ped" if rest else "") if part)
        done = done.replace("padped", "padded") or "as they are"
        return f"{height}x{width} pixels become {h}x{w}: {done}{rest}"


def _inside(given: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    scale = min(size[0] / given[0], size[1] / given[1])
    height, width = (max(1, round(side * scale)) for side in given)
    return min(height, size[0]), min(width, size[1])


def fitted_frames(frames: NDArray[np.uint8] | Tensor, fit: ImageFit, most: int) -> Tensor:
    """Frames (B, S, h, w, 3) uint8 of any size as (B, S, *fit.size, 3).

    Raises:
        ValueError: another shape or type, or S is not 1 to `most`.
    """
    images = eight_bit_tensor(frames, "the history of frames")
    shape, (height, width) = images.shape, fit.size
    if images.dim() != 5 or 0 in shape[2:]:
        raise ValueError(
            f"frames have shape {tuple(shape)}; give (B, S, {height}, {width}, 3) uint8, or "
            "another height and width"
        )
    if not 1 <= shape[1] <= most:
        raise ValueError(f"{shape[1]} frames of history; give 1 to {most}, newest last")
    if tuple(shape[2:4]) == fit.size:
        return images
    made = fit(images.flatten(0, 1).cpu().numpy())
    return torch.from_numpy(made).view(*shape[:2], *fit.size, 3)


def divisible(given: tuple[int, int], unit: int, how: How) -> tuple[int, int]:
    """The nearest size whose sides are multiples of `unit`: smaller to crop, larger to pad."""
    if how == "crop":
        height, width = (max(unit, side // unit * unit) for side in given)
    else:
        height, width = (-(-side // unit) * unit for side in given)
    return height, width
