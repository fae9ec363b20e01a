"""Pixels themselves as latents: each patch of f x f pixels becomes 3 f² channels. Lossless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from selfflow_robotics.tokenizers.tokenizer import Tokenizer


class Patches(Tokenizer):
    """Space to depth. ``decode(encode(images)) == images`` exactly.

    Example:
        >>> Patches(8).encode(torch.zeros(2, 64, 80, 3, dtype=torch.uint8)).shape
        torch.Size([2, 192, 8, 10])
    """

    kind = "patches"

    def __init__(self, factor: int = 8, mean: float = 0.0, std: float = 0.5) -> None:
        """Args:
            factor: Pixels along each side of a patch, at least 1.
            mean: Mean of the pixels of the data set on the scale [-1, 1].
            std: Their standard deviation, above 0.

        Raises:
            ValueError: ``factor`` or ``std`` is out of range.
        """
        if factor < 1 or not std > 0:
            raise ValueError(
                f"patches with factor {factor} and std {std}: give a factor of at least 1 "
                "and a std above 0"
            )
        super().__init__(channels=3 * factor * factor, factor=factor)
        self.latent_mean.fill_(mean)
        self.latent_std.fill_(std)

    @property
    def config(self) -> Mapping[str, Any]:
        """See :attr:`Tokenizer.config`; the statistics are state, not configuration."""
        return {"tokenizer": self.kind, "factor": self.factor}

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) to (N, 3 f², h/f, w/f)."""
        return pixel_unshuffle(pixels, self.factor)

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, 3 f², h/f, w/f) to (N, 3, h, w)."""
        return pixel_shuffle(raw, self.factor)
