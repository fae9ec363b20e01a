"""What a tokenizer is: uint8 images to normalised latents, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfflow_robotics.images.eight_bit import eight_bit_tensor

_CHUNK_PIXELS = 256 * 64 * 80


class Tokenizer(nn.Module):
    """Images to latents on a grid ``factor`` times coarser, and back.

    Latents have about zero mean and unit standard deviation in each channel: the statistics are
    buffers (``latent_mean``, ``latent_std``) and part of the stored state.

    A tokenizer says how floats in [-1, 1] become raw latents (:meth:`pixels_to_raw`) and back
    (:meth:`raw_to_pixels`); everything else is here. One with a `kind` is known by it to
    :mod:`~selfflow_robotics.tokenizers.stored`.

    Example:
        >>> tokenizer = Autoencoder()  # or Patches, StableDiffusion, Wan
        >>> tokenizer.decode(tokenizer.encode(torch.zeros(2, 64, 80, 3, dtype=torch.uint8))).shape
        torch.Size([2, 64, 80, 3])
    """

    KINDS: ClassVar[dict[str, type[Tokenizer]]] = {}
    kind: ClassVar[str]  # in config.json
    latent_mean: Tensor  # (C,)
    latent_std: Tensor  # (C,)

    def __init_subclass__(cls) -> None:
        if "kind" in vars(cls):
            Tokenizer.KINDS[cls.kind] = cls

    @classmethod
    def of(cls, **config: Any) -> Tokenizer:
        """The one that entries of :attr:`config` describe, without its state."""
        return cls(**config)

    def __init__(self, channels: int, factor: int) -> None:
        """Args:
        channels: C, channels of a latent.
        factor: Pixels along each side of a latent's cell.
        """
        super().__init__()
        self.channels, self.factor = channels, factor
        self.register_buffer("latent_mean", torch.zeros(channels))
        self.register_buffer("latent_std", torch.ones(channels))

    @property
    def temporal(self) -> int:
        """Frames that a latent frame of a video spans, apart from the first, which spans one."""
        return 1

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where latents come out."""
        return self.latent_mean.device

    @property
    def config(self) -> Mapping[str, Any]:
        """JSON from which :func:`selfflow_robotics.tokenizers.stored.build` makes this one."""
        raise NotImplementedError

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) float in [-1, 1] to (N, C, h/f, w/f), not yet normalised."""
        raise NotImplementedError

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f), not normalised, to (N, 3, h, w) float, about -1..1."""
        raise NotImplementedError

    def latent_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) of the latents of images of ``image_size`` (height, width).

        Raises:
            ValueError: A side is not a multiple of ``factor``.
        """
        height, width = image_size
        if height % self.factor or width % self.factor or height < 1 or width < 1:
            raise ValueError(
                f"images of {height}x{width} pixels do not divide into cells of "
                f"{self.factor}x{self.factor}; use sides that are multiples of {self.factor}"
            )
        return height // self.factor, width // self.factor

    @torch.no_grad()
    def encode(self, images: NDArray[np.uint8] | Tensor) -> Tensor:
        """Normalised latents of images.

        Args:
            images: (..., h, w, 3) uint8, array or tensor on any device, or pictures that
                :func:`~selfflow_robotics.images.eight_bit.eight_bit` makes so.

        Returns:
            (..., C, h/f, w/f) float32 on the tokenizer's device.

        Raises:
            ValueError: Another shape, type or range.
        """
        pixels = eight_bit_tensor(images, "what is to be encoded")
        *leading, height, width, _ = pixels.shape
        grid = self.latent_size((height, width))
        flat = pixels.reshape(-1, height, width, 3)
        mean, std = self.latent_mean.view(-1, 1, 1), self.latent_std.view(-1, 1, 1)
        pieces = [
            (self.pixels_to_raw(to_pixels(piece.to(self.device))).float() - mean) / std
            for piece in torch.split(flat, max(1, _CHUNK_PIXELS // (height * width)))
            if len(piece)
        ]
        latents = torch.cat(pieces) if pieces else mean.new_zeros(0, self.channels, *grid)
        return latents.reshape(*leading, self.channels, *grid)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images of normalised latents.

        Args:
            latents: (..., C, h/f, w/f) float.

        Returns:
            (..., h, w, 3) uint8 on the tokenizer's device.

        Raises:
            ValueError: Wrong shape.
        """
        self.check_latents(latents)
        *leading, _, rows, columns = latents.shape
        height, width = rows * self.factor, columns * self.factor
        flat = latents.reshape(-1, self.channels, rows, columns)
        mean, std = self.latent_mean.view(-1, 1, 1), self.latent_std.view(-1, 1, 1)
        pieces = [
            to_images(self.raw_to_pixels(piece.to(self.device, torch.float32) * std + mean))
            for piece in torch.split(flat, max(1, _CHUNK_PIXELS // (height * width)))
            if len(piece)
        ]
        empty = torch.empty(0, height, width, 3, dtype=torch.uint8, device=self.device)
        return (torch.cat(pieces) if pieces else empty).reshape(*leading, height, width, 3)

    def encode_video(self, images: NDArray[np.uint8] | Tensor) -> Tensor:
        """Normalised latents of the frames of a video.

        Args:
            images: (T, h, w, 3) uint8, T at least 1.

        Returns:
            (1 + (T - 1) // temporal, C, h/f, w/f) float32 on the tokenizer's device; frames at the
            end that fill no latent frame are left out.
        """
        return self.encode(images)

    def decode_video(self, latents: Tensor) -> Tensor:
        """Frames (1 + (S - 1) * temporal, h, w, 3) uint8 of a video's latents (S, C, h/f, w/f)."""
        return self.decode(latents)

    def encode_videos(self, images: Tensor) -> Tensor:
        """Latents (B, S, C, h/f, w/f) of videos (B, T, h, w, 3); see :meth:`encode_video`."""
        if self.temporal == 1:
            return self.encode(images)
        return torch.stack([self.encode_video(video) for video in images])

    def decode_after(self, last_BCHW: Tensor, latents_BKHCHW: Tensor) -> Tensor:
        """The frames (B, K, H * temporal, h, w, 3) of futures that follow a video's last latent."""
        if self.temporal == 1:
            return self.decode(latents_BKHCHW)
        last = last_BCHW[:, None, None].expand(-1, latents_BKHCHW.shape[1], -1, -1, -1, -1)
        videos = torch.cat((last, latents_BKHCHW), dim=2).flatten(0, 1)
        images = torch.stack([self.decode_video(video)[1:] for video in videos])
        return images.view(*latents_BKHCHW.shape[:2], *images.shape[1:])

    def frames_of(self, latents: int) -> int:
        """Frames that so many latent frames of a video's middle are encoded from.

        Where a latent frame spans several, the first of a video is of one frame and unlike all
        others: one frame more, which is not used.
        """
        return latents if self.temporal == 1 else 1 + latents * self.temporal

    def check_latents(self, latents: Tensor) -> None:
        """Refuse what is not (..., C, h/f, w/f).

        Raises:
            ValueError: Wrong shape.
        """
        if latents.ndim < 3 or latents.shape[-3] != self.channels:
            raise ValueError(
                f"latents to decode have shape {tuple(latents.shape)}; "
                f"give (..., {self.channels}, height/{self.factor}, width/{self.factor})"
            )


def to_pixels(images: Tensor) -> Tensor:
    """(N, h, w, 3) uint8 to (N, 3, h, w) float32 in [-1, 1], channels last in memory."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def to_images(pixels: Tensor) -> Tensor:
    """(N, 3, h, w) float to the nearest (N, h, w, 3) uint8."""
    scaled = ((pixels.float() + 1.0) * 127.5).round().clamp(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
