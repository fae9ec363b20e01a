"""Wan's causal video autoencoder (diffusers' AutoencoderKLWan).

That of Wan2.2 makes 48 channels of 16x16 pixels and 4 frames; the first frame of a video stands
alone. Latents are the posterior's mean, normalised by the published mean and deviation of each
channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.images.eight_bit import eight_bit_tensor
from selfflow_robotics.tokenizers.diffusers_model import DiffusersTokenizer
from selfflow_robotics.tokenizers.tokenizer import to_images, to_pixels


class Wan(DiffusersTokenizer):
    """Wan's autoencoder; needs the extra ``[diffusers]``.

    ``encode`` and ``decode`` take each image as a video of one frame.

    Example:
        ``Wan.from_pretrained("Wan-AI/Wan2.2-TI2V-5B-Diffusers").encode_video(images)``
    """

    kind = "wan"
    model_class = "AutoencoderKLWan"

    @staticmethod
    def sizes(config: Any) -> tuple[int, int]:
        return config.z_dim, config.scale_factor_spatial

    def normalize_by(self, config: Any) -> None:
        """See :meth:`DiffusersTokenizer.normalize_by`.

        Raises:
            ValueError: There is not one number a channel.
        """
        if not len(config.latents_mean) == len(config.latents_std) == self.channels:
            raise ValueError(
                f"the configuration of {self.model_class} has {len(config.latents_mean)} "
                f"latents_mean for {self.channels} channels; give one a channel"
            )
        self.latent_mean.copy_(torch.tensor(config.latents_mean))
        self.latent_std.copy_(torch.tensor(config.latents_std))

    @property
    def temporal(self) -> int:
        return int(self.vae.config.scale_factor_temporal)

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) in [-1, 1], N videos of one frame, to (N, C, h/f, w/f)."""
        return self.vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]  # type: ignore[no-any-return]

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f) to (N, 3, h, w), in -1..1."""
        return self.vae.decode(raw[:, :, None]).sample[:, :, 0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode_video(self, images: NDArray[np.uint8] | Tensor) -> Tensor:
        pixels = eight_bit_tensor(images, "what is to be encoded")
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
        self.check_latents(latents)
        if latents.ndim != 4 or not len(latents):
            raise ValueError(
                f"latents of a video to decode have shape {tuple(latents.shape)}; give (frames, "
                f"{self.channels}, rows, columns) with at least one frame"
            )
        mean, std = self.latent_mean.view(-1, 1, 1), self.latent_std.view(-1, 1, 1)
        raw = latents.to(self.device, torch.float32) * std + mean
        return to_images(self.vae.decode(raw.transpose(0, 1)[None]).sample[0].transpose(0, 1))
