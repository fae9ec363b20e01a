"""World models in and out of a folder: configuration as JSON, weights as safetensors.

Networks are stored as bfloat16. Tokenizers are stored exactly: latents kept on disk are those of
one tokenizer, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..storage.loaded_module import build_loaded
from ..storage.model_folder import UNSTORED, find_model, read_model, write_model
from ..tokenizers import stored
from ..tokenizers.tokenizer import Tokenizer
from .values import WorldModelConfig

FORMAT = "selfflow_robotics/world_model/1"

_Module = TypeVar("_Module", bound=nn.Module)


def save_world_model(
    folder: str | os.PathLike[str],
    config: WorldModelConfig,
    tokenizer: Tokenizer,
    state: Mapping[str, Tensor],
) -> None:
    """Write a world model: its network as bfloat16, half the size it has in memory."""
    entries = {"format": FORMAT, **config.to_json(), "tokenizer": dict(tokenizer.config)}
    kept = {
        name: value.to(torch.bfloat16) if _is_rounded(name, value) else value
        for name, value in state.items()
        if not name.endswith(UNSTORED)
    }
    write_model(folder, entries, kept)


def _is_rounded(name: str, value: Tensor) -> bool:
    return value.is_floating_point() and not name.startswith("tokenizer.")


def load_world_model(
    name_or_path: str | os.PathLike[str], make: Callable[[WorldModelConfig, Tokenizer], _Module]
) -> _Module:
    """Read a world model, in fp32 on the CPU.

    Args:
        make: puts together what the weights are loaded into.

    Raises:
        FileNotFoundError, ValueError: it is not there, damaged, or of another kind or version.
    """
    folder = find_model(name_or_path)
    entries, state = read_model(folder)
    if entries.get("format") != FORMAT:
        raise ValueError(
            f"{folder} holds a model of format {entries.get('format')!r}, not {FORMAT!r}; "
            "give a world model's folder, or export it again with this version"
        )

    def build() -> _Module:
        tokenizer = stored.build(entries["tokenizer"])
        return make(WorldModelConfig.from_json(entries, tokenizer, len(state)), tokenizer)

    return build_loaded(build, state, folder)
