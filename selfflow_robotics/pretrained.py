"""World models in and out of a folder: configuration as JSON, weights as safetensors.

Networks are stored as bfloat16. Tokenizers are stored exactly: latents kept on disk are those of
one tokenizer, to the bit.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from .data.action_spec import ActionSpec, StateSpec
from .data.vocabulary import Vocabulary
from .model.dit import DiTConfig
from .model.prior import PriorConfig
from .stored_model import find_model, load_weights, read_model, write_model
from .tokenizers import stored
from .tokenizers.tokenizer import Tokenizer
from .values import WorldModelConfig
from .world_model import WorldModel

FORMAT = "selfflow_robotics/world_model/1"


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
        "action_spec": config.action_spec.to_json(),
        "state_spec": config.state_spec.to_json() if config.state_spec else None,
        "vocabulary": list(config.vocabulary.words),
        "time_shift": config.time_shift,
        "prior": asdict(config.prior) if config.prior else None,
        "text_encoder": config.text_encoder,
    }
    state = {
        # Fixed positions are made anew when a model is loaded.
        name: value.to(torch.bfloat16) if _is_rounded(name, value) else value
        for name, value in world_model.state_dict().items()
        if not name.endswith("tokens_in.positions")
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
        config, tokenizer = _config(entries), stored.build(entries["tokenizer"])
        _require_fit(config, tokenizer)
        world_model = WorldModel(config, tokenizer)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder}/config.json lacks or has a wrong entry ({error}); copy the model again"
        ) from None
    state["network.tokens_in.positions"] = world_model.network.tokens_in.positions
    load_weights(world_model, state, folder)
    return world_model


def _require_fit(config: WorldModelConfig, tokenizer: Tokenizer) -> None:
    rows, columns = tokenizer.latent_size(config.image_size)
    patch, network = config.patch, config.network
    made = (rows // patch, columns // patch), tokenizer.channels * patch**2
    if made != (network.grid, network.token_dim):
        raise ValueError(
            f"images of {config.image_size} make tokens of {made}, the network takes "
            f"{(network.grid, network.token_dim)}"
        )


def _config(entries: dict[str, Any]) -> WorldModelConfig:
    network = dict(entries["network"])
    network["grid"] = tuple(network["grid"])
    spec, prior = entries["state_spec"], entries["prior"]
    return WorldModelConfig(
        DiTConfig(**network),
        entries["patch"],
        tuple(entries["image_size"]),
        entries["history_len"],
        ActionSpec.from_json(entries["action_spec"]),
        StateSpec.from_json(spec) if spec else None,
        Vocabulary(tuple(entries["vocabulary"])),
        float(entries["time_shift"]),
        PriorConfig(**{**prior, "latent": tuple(prior["latent"])}) if prior else None,
        entries.get("text_encoder"),
    )
