"""What a frozen DINOv2 encoder sees in the frames that latents stand for: REPA's target."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from ..machine.extras import require
from ..tokenizers.tokenizer import Tokenizer

# Of ImageNet's colours, as DINOv2 was trained with.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class FrameFeatures:
    """DINOv2's patch features (after its last norm) of latents, one for each token of a network.

    Training never reads pixels, so the encoder sees *decoded* frames: the tokenizer's errors
    included, each latent frame by itself. A frame is resized to as many pixels that every token
    covers exactly one of the encoder's patches, as REPA does (256 pixels and 16x16 tokens to 224
    pixels of 14-pixel patches): no feature is interpolated, and none mixes two tokens. On a small
    grid the encoder sees a small image: 8x10 tokens are 112x140 pixels.

    Args:
        name: folder of a DINOv2 model as transformers stores it (config.json, model.safetensors),
            or its name on the Hub, such as facebook/dinov2-base.
        tokenizer: whose latents will come.
        patch: latent cells along each side of a token.

    Raises:
        MissingExtraError: transformers is not installed.
        ValueError: there is no such model, it is not a DINOv2, or it lacks weights.
    """

    def __init__(self, name: str, tokenizer: Tokenizer, patch: int) -> None:
        self.encoder = _load(name).to(tokenizer.device)
        self.tokenizer = tokenizer
        self.patch = patch

    @property
    def width(self) -> int:
        """E, values of a feature."""
        return int(self.encoder.config.hidden_size)

    @torch.no_grad()
    def __call__(self, latents_BTCHW: Tensor) -> Tensor:
        """Features (B, T, N, E), tokens in row-major order."""
        batch, _, _, *cells = latents_BTCHW.shape
        size = [cell // self.patch * int(self.encoder.config.patch_size) for cell in cells]
        frames = self.tokenizer.decode(rearrange(latents_BTCHW, "b t c h w -> (b t) c h w"))
        pixels = rearrange(frames, "s h w c -> s c h w").float() / 255
        mean, std = (pixels.new_tensor(value)[:, None, None] for value in (_MEAN, _STD))
        pixels = F.interpolate((pixels - mean) / std, size, mode="bicubic", antialias=True)
        # The first token is of the whole image.
        seen: Tensor = self.encoder(pixel_values=pixels).last_hidden_state[:, 1:]
        return rearrange(seen, "(b t) n e -> b t n e", b=batch)


def _load(name: str) -> Any:
    transformers = require("transformers", "transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if config.model_type != "dinov2":
            raise ValueError(f'it is a model of type "{config.model_type}"')
        model, report = transformers.AutoModel.from_pretrained(
            name,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"objective.encoder={name} cannot be used ({error}); give the folder of a DINOv2 model "
            "with config.json and model.safetensors, or a name on the Hub: facebook/dinov2-base"
        ) from error
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"objective.encoder={name} lacks {len(missing)} weights, the first {missing[0]}; "
            "copy the model again"
        )
    return model.float().requires_grad_(False).eval()
