"""Stable Diffusion's autoencoder (diffusers' AutoencoderKL): 8x8 pixels to 4 channels.

Latents are the mean of the posterior times the published scale (0.18215 for sd-vae-ft-ema), which
gives them about unit deviation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from selfflow_robotics.tokenizers import diffusers_model
from selfflow_robotics.tokenizers.tokenizer import Tokenizer

__all__ = ["StableDiffusion"]

_KIND = "AutoencoderKL"


class StableDiffusion(Tokenizer):
    """SD-VAE; needs the extra ``[diffusers]``.

    Example:
        ``StableDiffusion.from_pretrained("stabilityai/sd-vae-ft-ema").encode(images)``
    """

    def __init__(self, vae: Mapping[str, Any]) -> None:
        """Random weights.

        Args:
            vae: The configuration of an ``AutoencoderKL``.

        Raises:
            MissingExtraError: diffusers is not installed.
            ValueError: The configuration does not fit.
        """
        model = diffusers_model.from_config(_KIND, vae)
        config = model.config
        super().__init__(config.latent_channels, 2 ** (len(config.block_out_channels) - 1))
        self.vae = model.requires_grad_(False)
        self.latent_mean.fill_(config.shift_factor or 0.0)
        self.latent_std.fill_(1.0 / config.scaling_factor)

    @property
    def config(self) -> Mapping[str, Any]:
        """See :attr:`Tokenizer.config`."""
        return {"tokenizer": "sd-vae", "vae": diffusers_model.config_of(self.vae)}

    def pixels_to_raw(self, pixels: Tensor) -> Tensor:
        """(N, 3, h, w) in [-1, 1] to (N, C, h/f, w/f), the posterior's mean."""
        return self.vae.encode(pixels).latent_dist.mode()  # type: ignore[no-any-return]

    def raw_to_pixels(self, raw: Tensor) -> Tensor:
        """(N, C, h/f, w/f) to (N, 3, h, w), about -1..1."""
        return self.vae.decode(raw).sample  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> StableDiffusion:
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
