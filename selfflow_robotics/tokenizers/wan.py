"""Wan's causal video autoencoder (diffusers' AutoencoderKLWan).

That of Wan2.2 makes 48 channels of 16x16 pixels and 4 frames; the first frame of a video stands
alone. Latents are the posterior's mean, normalised by the published mean and deviation of each
channel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.tokenizers import diffusers_model
from selfflow_robotics.tokenizers.tokenizer import (
    Tokenizer,
    checked_images,
    to_images,
    to_pixels,
)

__all__ = ["Wan"]

_KIND = "AutoencoderKLWan"


class Wan(Tokenizer):
    """Wan's autoencoder; needs the extra ``[diffusers]``.

    ``encode`` and ``decode`` take each image as a video of one frame.

    Example:
        ``Wan.from_pretrained("Wan-AI/Wan2.2-TI2V-5B-Diffusers").encode_video(images)``
    """

    def __init__(self, vae: Mapping[str, Any]) -> None:
        """Random weights.

        Args:
            vae: The configuration of an ``AutoencoderKLWan``.

        Raises:
            MissingExtraError: diffusers is not installed.
            ValueError: The configuration does not fit.
        """
        model = diffusers_model.from_config(_KIND, vae)
        config = model.config
        super().__init__(config.z_dim, config.scale_factor_spatial)
        self.vae = model.requires_grad_(False)
        if not len(config.latents_mean) == len(config.latents_std) == self.channels:
            raise ValueError(
                f"the configuration of {_KIND} has {len(config.latents_mean)} latents_mean for "
                f"{self.channels} channels; give one a channel"
            )
        self.latent_mean.copy_(torch.tensor(config.latents_mean))
        self.latent_std.copy_(torch.tensor(config.latents_std))

    @property
    def config(self) -> Mapping[str, Any]:
        """See :attr:`Tokenizer.config`."""
        return {"tokenizer": "wan", "vae": diffusers_model.config_of(self.vae)}

    @property
    def temporal(self) -> int:
        """See :attr:`Tokenizer.temporal`."""
        return int(self.vae.config.scale_factor_temporal)

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) in [-1, 1], N videos of one frame, to (N, C, h/f, w/f)."""
        return self.vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]  # type: ignore[no-any-return]

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f) to (N, 3, h, w), in -1..1."""
        return self.vae.decode(raw[:, :, None]).sample[:, :, 0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_video(self, images: NDArray[np.uint8] | Tensor) -> Tensor:
        """See :meth:`Tokenizer.encode_video`."""
        pixels = checked_images(images)
        if pixels.ndim != 4 or not len(pixels):
            raise ValueError(
                f"a video to encode has shape {tuple(pixels.shape)}; give (frames, height, width, "
                "3) with at least one frame"
            )
        self.latent_size((pixels.shape[1], pixels.shape[2]))
        whole = 1 + (len(pixels) - 1) // self.temporal * self.temporal
        video = to_pixels(pixels[:whole].to(self.device)).transpose(0, 1)[None]
        raw: Tensor = self.vae.encode(video).latent_dist.mode()[0].transpose(0, 1).float()
        return (raw - self.latent_mean.view(-1, 1, 1)) / self.latent_std.view(-1, 1, 1)

    @torch.no_grad()
    def decode_video(self, latents: Tensor) -> Tensor:
        """See :meth:`Tokenizer.decode_video`."""
        self.check_latents(latents)
        if latents.ndim != 4 or not len(latents):
            raise ValueError(
                f"latents of a video to decode have shape {tuple(latents.shape)}; give (frames, "
                f"{self.channels}, rows, columns) with at least one frame"
            )
        mean, std = self.latent_mean.view(-1, 1, 1), self.latent_std.view(-1, 1, 1)
        raw = latents.to(self.device, torch.float32) * std + mean
        return to_images(self.vae.decode(raw.transpose(0, 1)[None]).sample[0].transpose(0, 1))

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> Wan:
        """The weights of a folder that diffusers wrote, or of the Hub.

        Raises:
            FileNotFoundError: There is no such model.
            MissingExtraError: diffusers is not installed.
            ValueError: It is another model, or a file is damaged.
        """
        model = diffusers_model.from_pretrained(_KIND, source)
        tokenizer = cls(diffusers_model.config_of(model))
        tokenizer.vae.load_state_dict(model.state_dict())
        return tokenizer.eval()
