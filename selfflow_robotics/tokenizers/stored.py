"""Tokenizers on disk: a folder with ``config.json`` and ``model.safetensors``.

A world model's folder holds its tokenizer too, and is taken as that tokenizer's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from selfflow_robotics.machine.precision import usable
from selfflow_robotics.storage.model_folder import CONFIG, build_loaded, read_model, write_model
from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.tokenizers.stable_diffusion import StableDiffusion
from selfflow_robotics.tokenizers.tokenizer import Tokenizer
from selfflow_robotics.tokenizers.wan import Wan

__all__ = ["build", "load", "save"]

KINDS = ("autoencoder", "patches", "sd-vae", "wan")


def build(config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer a configuration describes, without its state.

    Args:
        config: ``Tokenizer.config`` of the one wanted.

    Raises:
        ValueError: The kind or a key is unknown, or a value is out of range.
    """
    values = {key: value for key, value in config.items() if key != "tokenizer"}
    kind = config.get("tokenizer")
    try:
        if kind == "autoencoder":
            return Autoencoder(AutoencoderConfig(**values))
        if kind == "patches":
            return Patches(**values)
        if kind == "sd-vae":
            return StableDiffusion(**values)
        if kind == "wan":
            return Wan(**values)
    except TypeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the configuration of tokenizer {kind!r} does not fit: {reason}"
        ) from None
    raise ValueError(f"tokenizer {kind!r} is unknown; there are {', '.join(KINDS)}")


def save(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> None:
    """Writes ``config.json`` and ``model.safetensors``, in full or not at all.

    Args:
        tokenizer: Any tokenizer.
        folder: Made if absent; a tokenizer that is there already is replaced.

    Raises:
        FileExistsError: ``folder`` exists and holds something other than a model.
    """
    write_model(folder, tokenizer.config, tokenizer.state_dict())


def load(folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Tokenizer:
    """Reads what :func:`save` wrote, or the tokenizer of a world model, in evaluation mode.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: No such device, a file is damaged, or weights do not fit the configuration.
    """
    source, there = Path(folder), usable(device)
    config, state = read_model(source)
    if isinstance(config.get("tokenizer"), Mapping):  # the folder is a world model's
        config, own = config["tokenizer"], "tokenizer."
        state = {k.removeprefix(own): v for k, v in state.items() if k.startswith(own)}
    try:
        tokenizer = build_loaded(lambda: build(config), state, source)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise ValueError(f"{source / CONFIG}: {error}".splitlines()[0]) from None
    except ValueError as error:
        raise (
            error if str(source) in str(error) else ValueError(f"{source / CONFIG}: {error}")
        ) from None
    return tokenizer.to(there).eval()
