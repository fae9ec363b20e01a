"""Autoencoders of diffusers: found in a folder or on the Hub, and told apart by their class."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfflow_robotics.extras import require

__all__ = ["config_of", "from_config", "from_pretrained"]


def from_config(kind: str, config: Mapping[str, Any]) -> Any:
    """A model of a class of diffusers with random weights.

    Raises:
        MissingExtraError: diffusers is not installed.
        ValueError: The configuration does not fit the class.
    """
    try:
        return getattr(require("diffusers", "diffusers"), kind)(**config)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"the configuration of {kind} does not fit: {error}") from None


def config_of(model: Any) -> dict[str, Any]:
    """The configuration that :func:`from_config` takes."""
    return {key: value for key, value in model.config.items() if not key.startswith("_")}


def from_pretrained(kind: str, source: str | os.PathLike[str]) -> Any:
    """A model of a class of diffusers with its weights, in fp32.

    Args:
        kind: Name of the class.
        source: A folder, or ``org/name`` of the Hub; of the model itself or of a pipeline that has
            it in ``vae``.

    Raises:
        FileNotFoundError: No such model with safetensors weights is there.
        MissingExtraError: diffusers is not installed.
        ValueError: It is another model, or a file is damaged.
    """
    maker = getattr(require("diffusers", "diffusers"), kind)
    name = os.fspath(source)
    nested = Path(name, "vae").is_dir()
    reasons = []
    for subfolder in ("vae",) if nested else (None,) if Path(name).is_dir() else (None, "vae"):
        try:
            config = maker.load_config(name, subfolder=subfolder)
            found = config.get("_class_name", kind)
            if found != kind:
                raise ValueError(f"{name} holds a model of class {found}, not {kind}")
            model, report = maker.from_pretrained(
                name,
                subfolder=subfolder,
                use_safetensors=True,
                low_cpu_mem_usage=False,
                output_loading_info=True,
            )
        except OSError as error:
            reasons.append((str(error).splitlines() or [type(error).__name__])[0])
            continue
        lacking = [*report["missing_keys"], *report["unexpected_keys"]]
        if lacking:
            raise ValueError(f"the weights of {name} are not those of {kind}: {min(lacking)}")
        return model
    raise FileNotFoundError(
        f"{name} is no folder or Hub repository of {kind} with safetensors weights ({reasons[0]}); "
        "check the name and the network"
    )
