"""What stands still in a set of frames, so that what moves can count for more.

A can is four by eight pixels of a 64x80 frame: an average over pixels hardly notices it. Frames are
grouped by what they look like from afar (a data set holds a few scenes and camera positions); the
median of each group is its background.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

_THUMBNAIL = (8, 10)


@dataclass(frozen=True)
class Backgrounds:
    """K backgrounds, and what tells their frames apart."""

    images: Tensor  # (K, 3, h, w) float in [-1, 1]
    centres: Tensor  # (K, F) thumbnails of the groups' means

    @classmethod
    def find(cls, pixels: Tensor, groups: int = 8, seed: int = 0) -> Backgrounds:
        """Groups frames by their thumbnails (k-means) and takes the median of each group.

        Args:
            pixels: (S, 3, h, w) float in [-1, 1]; a thousand frames of the data set are plenty.
            groups: K, at most; fewer when there are fewer frames.
            seed: Of the choice of the first centres.

        Raises:
            ValueError: There is no frame.
        """
        if not len(pixels):
            raise ValueError("backgrounds of no frames; give at least one frame")
        points = _thumbnails(pixels)
        generator = torch.Generator().manual_seed(seed)
        first = torch.randperm(len(points), generator=generator)[: max(1, groups)]
        centres = points[first.to(points.device)]
        for _ in range(20):
            owner = torch.cdist(points, centres).argmin(1)
            centres = torch.stack(
                [
                    points[owner == group].mean(0) if (owner == group).any() else centre
                    for group, centre in enumerate(centres)
                ]
            )
        owner = torch.cdist(points, centres).argmin(1)
        kept = [group for group in range(len(centres)) if (owner == group).any()]
        images = torch.stack([pixels[owner == group].median(0).values for group in kept])
        return cls(images=images, centres=centres[kept])

    def difference(self, pixels: Tensor) -> Tensor:
        """How much each pixel of (N, 3, h, w) in [-1, 1] differs from its frame's background.

        Of the colours the largest difference, 0..2, as (N, 1, h, w).
        """
        owner = torch.cdist(_thumbnails(pixels), self.centres).argmin(1)
        return (pixels - self.images[owner]).abs().amax(1, keepdim=True)


def _thumbnails(pixels: Tensor) -> Tensor:
    return adaptive_avg_pool2d(pixels.float(), _THUMBNAIL).flatten(1)
