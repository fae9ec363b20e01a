"""What the tokenizers that are autoencoders of diffusers share: a model found, built and kept."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from selfflow_robotics.machine.extras import require
from selfflow_robotics.tokenizers.tokenizer import Tokenizer

_Kind = TypeVar("_Kind", bound="DiffusersTokenizer")


class DiffusersTokenizer(Tokenizer):
    """An autoencoder of diffusers; needs the extra ``[diffusers]``.

    A subclass says which class of diffusers it is, what sizes a configuration gives it, and how
    latents are normalised.
    """

    model_class: ClassVar[str]  # of diffusers

    def __init__(self, vae: Mapping[str, Any]) -> None:
        """Random weights, by the configuration of a model of ``model_class``.

        Raises:
            MissingExtraError: diffusers is not installed.
            ValueError: The configuration does not fit.
        """
        model = _from_config(self.model_class, vae)
        super().__init__(*self.sizes(model.config))
        self.vae = model.requires_grad_(False)
        self.normalize_by(model.config)

    @staticmethod
    @abstractmethod
    def sizes(config: Any) -> tuple[int, int]:
        """Channels of a latent, and pixels along each side of its cell."""

    @abstractmethod
    def normalize_by(self, config: Any) -> None:
        """Sets ``latent_mean`` and ``latent_std`` as published with the weights."""

    @property
    def config(self) -> Mapping[str, Any]:
        return {"tokenizer": self.kind, "vae": _config_of(self.vae)}

    @classmethod
    def from_pretrained(cls: type[_Kind], source: str | os.PathLike[str]) -> _Kind:
        """The weights of a folder that diffusers wrote, or of the Hub.

        Args:
            source: A folder, or ``org/name`` of the Hub; of the model itself or of a pipeline that
                has it in ``vae``.

        Raises:
            FileNotFoundError: There is no such model with safetensors weights.
            MissingExtraError: diffusers is not installed.
            ValueError: It is another model, or a file is damaged.
        """
        model = _from_pretrained(cls.model_class, source)
        tokenizer = cls(_config_of(model))
        tokenizer.vae.load_state_dict(model.state_dict())
        return tokenizer.eval()


def _from_config(kind: str, config: Mapping[str, Any]) -> Any:
    try:
        return getattr(require("diffusers", "diffusers"), kind)(**config)
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"the configuration of {kind} does not fit: {error}") from None


def _config_of(model: Any) -> dict[str, Any]:
    """The configuration that :func:`_from_config` takes."""
    return {key: value for key, value in model.config.items() if not key.startswith("_")}


def _from_pretrained(kind: str, source: str | os.PathLike[str]) -> Any:
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
