"""World models in and out of a folder: configuration as JSON, weights as safetensors.

Networks are stored as bfloat16. Tokenizers are stored exactly: latents kept on disk are those of
one tokenizer, to the bit.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.action_spec import ActionSpec, StateSpec
from ..data.vocabulary import Vocabulary
from ..images.fit import ImageFit
from ..model.dit import DiTConfig
from ..model.prior import PriorConfig
from ..storage.model_folder import (
    CONFIG,
    UNSTORED,
    build_loaded,
    find_model,
    read_model,
    write_model,
)
from ..storage.typed_yaml import build
from ..tokenizers import stored
from ..tokenizers.tokenizer import Tokenizer
from .values import WorldModelConfig
from .world_model import WorldModel

FORMAT = "selfflow_robotics/world_model/1"
_MOST_TOKENS = 2**16


def save_world_model(world_model: WorldModel, folder: str | os.PathLike[str]) -> None:
    """Write a world model: its network as bfloat16, half the size it has in memory."""
    config = world_model.config
    entries = {
        "format": FORMAT,
        "network": asdict(config.network),
        "tokenizer": dict(world_model.tokenizer.config),
        "patch": config.patch,
        "image_size": list(config.image_size),
        "history_len": config.history_len,
        "action_spec": config.action_spec.to_json() if config.action_spec else None,
        "state_spec": config.state_spec.to_json() if config.state_spec else None,
        "vocabulary": list(config.vocabulary.words),
        "time_shift": config.time_shift,
        "prior": asdict(config.prior) if config.prior else None,
        "text_encoder": config.text_encoder,
        "image_fit": config.image_fit,
        "camera_size": list(config.camera_size) if config.camera_size else None,
    }
    state = {
        name: value.to(torch.bfloat16) if _is_rounded(name, value) else value
        for name, value in world_model.state_dict().items()
        if not name.endswith(UNSTORED)
    }
    write_model(folder, entries, state)


def _is_rounded(name: str, value: Tensor) -> bool:
    return value.is_floating_point() and not name.startswith("tokenizer.")


def load_world_model(name_or_path: str | os.PathLike[str]) -> WorldModel:
    """Read a world model, in fp32 on the CPU.

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
    try:
        config = _config(entries)
        _require_few(config.network, state)
        return build_loaded(lambda: _built(config, entries["tokenizer"]), state, folder)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
        raise _wrong(folder, error) from None
    except ValueError as error:
        raise (error if str(folder) in str(error) else _wrong(folder, error)) from None


def _wrong(folder: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ValueError(
        f"{folder / CONFIG} lacks or has a wrong entry ({reason}); copy the model again"
    )


def _built(config: WorldModelConfig, tokenizer: dict[str, Any]) -> WorldModel:
    made = stored.build(tokenizer)
    _require_fit(config, made)
    return WorldModel(config, made)


def _require_few(network: DiTConfig, state: Mapping[str, Tensor]) -> None:
    """Refuse what would take long to build for no weights, or large positions that none store."""
    if network.depth > len(state) or network.grid[0] * network.grid[1] > _MOST_TOKENS:
        raise ValueError(
            f"a network of {network.depth} blocks and tokens in {network.grid}, with {len(state)} "
            f"tensors of weights; at most {_MOST_TOKENS} tokens a frame"
        )


def _require_fit(config: WorldModelConfig, tokenizer: Tokenizer) -> None:
    rows, columns = tokenizer.latent_size(config.image_size)
    patch, network = config.patch, config.network
    made = (rows // patch, columns // patch), tokenizer.channels * patch**2
    if (config.action_spec is None) != (network.action_dim == 0):
        raise ValueError("action_spec does not go with the network's action_dim")
    if made != (network.grid, network.token_dim):
        raise ValueError(
            f"images of {config.image_size} make tokens of {made}, the network takes "
            f"{(network.grid, network.token_dim)}"
        )
    told = (
        {network.vocabulary}
        if config.prior is None
        else {network.vocabulary, config.prior.vocabulary}
    )
    if not told <= {0, config.vocabulary.size}:
        raise ValueError(
            f"the vocabulary has {config.vocabulary.size} entries, those who read it know "
            f"{', '.join(map(str, sorted(told)))}"
        )


def _config(entries: dict[str, Any]) -> WorldModelConfig:
    def entry(name: str, kind: Any) -> Any:
        return build(entries[name], kind, name, "it")

    def later(name: str, kind: Any, default: Any) -> Any:
        return entry(name, kind) if name in entries else default

    actions, states = (entry(key, dict[str, Any] | None) for key in ("action_spec", "state_spec"))
    network, image_size = entry("network", DiTConfig), entry("image_size", tuple[int, int])
    history_len, time_shift = entry("history_len", int), entry("time_shift", float)
    if history_len < 1 or not 0 < time_shift < math.inf:
        raise ValueError(f"history_len is {history_len} and time_shift {time_shift}")
    return WorldModelConfig(
        network,
        entry("patch", int),
        image_size,
        history_len,
        ActionSpec.from_json(actions) if actions is not None else None,
        StateSpec.from_json(states) if states else None,
        Vocabulary(entry("vocabulary", tuple[str, ...]), network.max_words),
        time_shift,
        entry("prior", PriorConfig | None),
        later("text_encoder", str | None, None),
        ImageFit(image_size, later("image_fit", str, "crop")).how,
        later("camera_size", tuple[int, int] | None, None),
    )
