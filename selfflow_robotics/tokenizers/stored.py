"""Tokenizers on disk: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.tokenizers.tokenizer import Tokenizer

__all__ = ["build", "load", "save"]


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
    except TypeError as error:
        raise ValueError(f"the configuration of tokenizer {kind!r} does not fit: {error}") from None
    raise ValueError(f"tokenizer {kind!r} is unknown; there are 'autoencoder' and 'patches'")


def save(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> None:
    """Writes ``config.json`` and ``model.safetensors``, in full or not at all.

    Args:
        tokenizer: Any tokenizer.
        folder: Made if absent; a tokenizer that is there already is replaced.

    Raises:
        FileExistsError: ``folder`` exists and holds something other than a tokenizer.
    """
    target = Path(folder)
    names = {"config.json", "model.safetensors"}
    if target.exists() and (not target.is_dir() or {p.name for p in target.iterdir()} - names):
        raise FileExistsError(
            f"{target} exists and is not a tokenizer's folder; choose another folder"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (partial / "config.json").write_text(json.dumps(dict(tokenizer.config), indent=2) + "\n")
        state = {
            key: value.detach().cpu().contiguous() for key, value in tokenizer.state_dict().items()
        }
        save_file(state, partial / "model.safetensors")
        partial.chmod(0o755)
        (partial / "model.safetensors").chmod(0o644)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def load(folder: str | os.PathLike[str], device: str | torch.device = "cpu") -> Tokenizer:
    """Reads what :func:`save` wrote, in evaluation mode.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or weights do not fit the configuration.
    """
    source = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (source / name).is_file():
            raise FileNotFoundError(
                f"{source} has no {name}; give the folder of a tokenizer, which "
                '"selfflow tokenizer" writes'
            )
    try:
        config = json.loads((source / "config.json").read_text())
    except ValueError:
        raise ValueError(
            f"{source / 'config.json'} is not valid JSON; train or copy the tokenizer again"
        ) from None
    if not isinstance(config, dict):
        raise ValueError(f"{source / 'config.json'} does not describe a tokenizer; copy it again")
    try:
        tokenizer = build(config)
    except ValueError as error:
        raise ValueError(f"{source / 'config.json'}: {error}") from None
    try:
        state = load_file(source / "model.safetensors")
    except SafetensorError as error:
        raise ValueError(
            f"{source / 'model.safetensors'} is truncated or no safetensors file ({error}); "
            "train or copy the tokenizer again"
        ) from None
    expected = {key: tuple(value.shape) for key, value in tokenizer.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    for key in sorted(expected.keys() | found.keys()):
        if expected.get(key) != found.get(key):
            raise ValueError(
                f"{source / 'model.safetensors'} does not fit its config.json: {key} is "
                f"{found.get(key, 'absent')}, expected {expected.get(key, 'absent')}; "
                "copy both files of one tokenizer"
            )
    tokenizer.load_state_dict(state)
    return tokenizer.to(device).eval()
