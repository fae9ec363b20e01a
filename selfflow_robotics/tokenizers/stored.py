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
from selfflow_robotics.storage.loaded_module import build_loaded
from selfflow_robotics.storage.model_folder import read_model, write_model
from selfflow_robotics.tokenizers.tokenizer import Tokenizer


def build(config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that a ``Tokenizer.config`` describes, without its state.

    Raises:
        ValueError: The kind or a key is unknown, or a value is out of range.
    """
    values = {key: value for key, value in config.items() if key != "tokenizer"}
    kind = config.get("tokenizer")
    if not isinstance(kind, str) or kind not in Tokenizer.KINDS:
        raise ValueError(f"tokenizer {kind!r} is unknown; there are {', '.join(Tokenizer.KINDS)}")
    try:
        return Tokenizer.KINDS[kind].of(**values)
    except TypeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"the configuration of tokenizer {kind!r} does not fit: {reason}"
        ) from None


def save(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> None:
    """Writes ``config.json`` and ``model.safetensors``, in full or not at all.

    The folder is made if absent; a tokenizer that is there already is replaced.

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
    return build_loaded(lambda: build(config), state, source).to(there).eval()
