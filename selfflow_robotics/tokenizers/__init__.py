"""Pixels to latents and back."""

from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.tokenizers.stable_diffusion import StableDiffusion
from selfflow_robotics.tokenizers.stored import build, load, save
from selfflow_robotics.tokenizers.tokenizer import Tokenizer
from selfflow_robotics.tokenizers.wan import Wan

__all__ = [
    "Autoencoder",
    "AutoencoderConfig",
    "Patches",
    "StableDiffusion",
    "Tokenizer",
    "Wan",
    "build",
    "load",
    "save",
]
