"""Stable Diffusion's autoencoder (diffusers' AutoencoderKL): 8x8 pixels to 4 channels.

Latents are the mean of the posterior times the published scale (0.18215 for sd-vae-ft-ema), which
gives them about unit deviation.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from selfflow_robotics.tokenizers.diffusers_model import DiffusersTokenizer


class StableDiffusion(DiffusersTokenizer):
    """SD-VAE; needs the extra ``[diffusers]``.

    Example:
        ``StableDiffusion.from_pretrained("stabilityai/sd-vae-ft-ema").encode(images)``
    """

    kind = "sd-vae"
    model_class = "AutoencoderKL"

    @staticmethod
    def sizes(config: Any) -> tuple[int, int]:
        return config.latent_channels, 2 ** (len(config.block_out_channels) - 1)

    def normalize_by(self, config: Any) -> None:
        self.latent_mean.fill_(config.shift_factor or 0.0)
        self.latent_std.fill_(1.0 / config.scaling_factor)

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) in [-1, 1] to (N, C, h/f, w/f), the posterior's mean."""
        return self.vae.encode(pixels).latent_dist.mode()  # type: ignore[no-any-return]

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f) to (N, 3, h, w), about -1..1."""
        return self.vae.decode(raw).sample  # type: ignore[no-any-return]
