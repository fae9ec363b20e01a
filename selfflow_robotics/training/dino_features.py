"""Features of DINOv2 (arXiv 2304.07193) that REPA aligns with, through transformers."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..extras import require
from ..tokenizers.tokenizer import Tokenizer

_KINDS = ("dinov2", "dinov2_with_registers")
# Of ImageNet's pixels in [0, 1], as DINOv2 was trained.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoFeatures:
    """Clean latents (B, T, C, h, w) to normalised patch features (B, T, N, `width`).

    The encoder sees decoded frames, since training never reads pixels. They are resized so that one
    of its patches is one token of the network, as in REPA (256 pixels to 224 for 16x16 tokens): no
    feature is a mixture of neighbours, and no patch is computed in vain.
    """

    def __init__(self, encoder: Any, tokenizer: Tokenizer, grid: tuple[int, int]) -> None:
        self.encoder, self.tokenizer, self.grid = encoder, tokenizer, grid
        self.width: int = encoder.config.hidden_size

    @torch.no_grad()
    def __call__(self, latents_BTCHW: Tensor, /) -> Tensor:
        images = self.tokenizer.decode(latents_BTCHW)
        pixels = rearrange(images, "b t h w c -> (b t) c h w").float() / 255
        patch = self.encoder.config.patch_size
        size = (self.grid[0] * patch, self.grid[1] * patch)
        pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True)
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (_MEAN, _STD))
        tokens: Tensor = self.encoder(pixel_values=(pixels - mean) / std).last_hidden_state
        # A class token and registers come before the patches.
        patches = tokens[:, -self.grid[0] * self.grid[1] :]
        return rearrange(patches, "(b t) n e -> b t n e", b=len(latents_BTCHW))


def load_dino(name_or_path: str, tokenizer: Tokenizer, grid: tuple[int, int]) -> DinoFeatures:
    """DINOv2 of a folder or the Hub, frozen, beside the tokenizer; safetensors only, no code.

    Raises:
        MissingExtraError: transformers is not installed.
        FileNotFoundError: it is not there.
        ValueError: it is another kind of model, or weights lack.
    """
    transformers = require("transformers", "transformers")
    try:
        encoder, report = transformers.AutoModel.from_pretrained(
            name_or_path, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{name_or_path} is neither a folder with config.json and model.safetensors nor to be "
            f"had from the Hub ({type(error).__name__}); check objective.encoder and the network"
        ) from None
    if encoder.config.model_type not in _KINDS:
        raise ValueError(
            f"{name_or_path} is a {encoder.config.model_type}; give a DINOv2 for objective.encoder"
        )
    if report["missing_keys"]:
        raise ValueError(
            f"{name_or_path} lacks the weights {min(report['missing_keys'])}; copy it again"
        )
    return DinoFeatures(encoder.requires_grad_(False).eval().to(tokenizer.device), tokenizer, grid)
