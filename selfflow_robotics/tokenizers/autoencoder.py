"""A small convolutional autoencoder, fast enough to encode and decode on a CPU core.

Full resolution is only ever touched by a rearrangement of pixels (space to depth and back), so
almost all work is done at a quarter of the pixels and below.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an :class:`Autoencoder`.

    Raises:
        ValueError: A size is below 1 or there is no level.
    """

    channels: int = 16  # C, channels of a latent
    widths: tuple[int, ...] = (32, 64, 96)  # of each level, fine to coarse; factor = 2 ** levels

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.channels < 1 or not self.widths or min(self.widths) < 1:
            raise ValueError(
                f"an autoencoder of {self.channels} latent channels and widths {self.widths}: "
                "give at least one channel and at least one width, all positive"
            )


class _Residual(nn.Module):
    """Two 3x3 convolutions and a way around them; the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(silu(self.first(silu(x))))  # type: ignore[no-any-return]


class Autoencoder(Tokenizer):
    """Images to ``channels`` numbers for every ``2 ** len(widths)`` square of pixels, and back.

    Example:
        >>> autoencoder = Autoencoder()
        >>> autoencoder.encode(torch.zeros(2, 64, 80, 3, dtype=torch.uint8)).shape
        torch.Size([2, 16, 8, 10])
    """

    kind = "autoencoder"

    @classmethod
    def of(cls, **config: Any) -> Autoencoder:
        return cls(AutoencoderConfig(**config))

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        """Random weights, and latent statistics that change nothing."""
        sizes = config or AutoencoderConfig()
        super().__init__(channels=sizes.channels, factor=2 ** len(sizes.widths))
        self.sizes = sizes
        widths = sizes.widths

        encoder: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, widths[0], 3, padding=1),
        ]
        for before, width in itertools.pairwise(widths):
            encoder += [nn.SiLU(), nn.Conv2d(before, width, 3, stride=2, padding=1)]
            encoder += [_Residual(width)]
        encoder += [nn.SiLU(), nn.Conv2d(widths[-1], sizes.channels, 1)]

        decoder: list[nn.Module] = [
            nn.Conv2d(sizes.channels, widths[-1], 3, padding=1),
            _Residual(widths[-1]),
        ]
        for before, width in itertools.pairwise(widths[::-1]):
            decoder += [nn.Conv2d(before, 4 * width, 1), nn.PixelShuffle(2), _Residual(width)]
        decoder += [nn.SiLU(), nn.Conv2d(widths[0], 12, 3, padding=1), nn.PixelShuffle(2)]

        # Channels last doubles the speed of convolutions on a CPU.
        self.encoder = nn.Sequential(*encoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.decoder = nn.Sequential(*decoder).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def config(self) -> Mapping[str, Any]:
        return {"tokenizer": self.kind, **asdict(self.sizes)}

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) in [-1, 1] to (N, C, h/f, w/f)."""
        return self.encoder(pixels.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f) to (N, 3, h, w), about -1..1."""
        return self.decoder(raw.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Writes the folder; see :func:`selfflow_robotics.tokenizers.stored.save`."""
        stored.save(self, folder)

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], device: str | torch.device = "cpu"
    ) -> Autoencoder:
        """Reads the folder; see :func:`selfflow_robotics.tokenizers.stored.load`.

        Raises:
            ValueError: Also when the folder holds another kind of tokenizer.
        """
        tokenizer = stored.load(folder, device)
        if not isinstance(tokenizer, cls):
            raise ValueError(
                f"{os.fspath(folder)} holds the tokenizer {tokenizer.config['tokenizer']!r}, "
                "not an autoencoder; give an autoencoder's folder"
            )
        return tokenizer
