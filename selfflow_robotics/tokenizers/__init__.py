"""Pixels to latents and back."""

from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.tokenizers.stored import build, load, save
from selfflow_robotics.tokenizers.tokenizer import Tokenizer

__all__ = ["Autoencoder", "AutoencoderConfig", "Patches", "Tokenizer", "build", "load", "save"]
