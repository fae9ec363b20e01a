"""Policy priors beside a model, weaker than its own: what is left for planning to add."""

from __future__ import annotations

import os
from dataclasses import asdict, replace

from ..data.latents.cache import weights_digest
from ..model.prior import PolicyPrior, PriorConfig
from ..storage.digests import text_digest
from ..storage.loaded_module import build_loaded
from ..storage.model_folder import find_model, read_model, write_model
from ..storage.typed_yaml import build
from .world_model import WorldModel

FORMAT = "selfflow_robotics/prior/1"
PRIORS = "priors"


def percent(share: float) -> str:
    """What a prior of this share of the demonstrations is called beside a model: 0.05 is "5"."""
    return f"{100 * share:g}"


def save_prior(prior: PolicyPrior, world_model: WorldModel, folder: str | os.PathLike[str]) -> None:
    """Write `config.json` and `model.safetensors`, atomically."""
    config = {"format": FORMAT, "reads": _reads(world_model), "prior": asdict(prior.config)}
    write_model(folder, config, prior.state_dict())


def give_prior(world_model: WorldModel, model_name: str, name: str) -> None:
    """Let a world model guess by the prior of this name that lies beside it, not by its own.

    Args:
        model_name: what the world model was loaded by.

    Raises:
        FileNotFoundError: there is none; the message says how to fit one.
        ValueError: it is damaged, or was fitted to what another model sees.
    """
    folder = find_model(model_name) / PRIORS / name
    if not folder.is_dir():
        share = f"{int(name) / 100:g}" if name.isdecimal() else "SHARE"
        raise FileNotFoundError(
            f"there is no prior {folder}; fit one to a share of a data set's demonstrations: "
            f"selfflow prior world_model={model_name} share={share} data=FOLDER"
        )
    config, state = read_model(folder)
    if config.get("format") != FORMAT:
        raise ValueError(f"{folder} holds {config.get('format')!r}, not {FORMAT!r}; fit it again")
    if config.get("reads") != _reads(world_model):
        raise ValueError(
            f"the prior {folder} was fitted to what another model sees or does; fit one to this "
            "model: selfflow prior"
        )
    sizes = build(config.get("prior"), PriorConfig, "prior", str(folder))
    prior = build_loaded(lambda: PolicyPrior(sizes), state, folder)
    world_model.prior = prior.to(world_model.device).eval()
    world_model.config = replace(world_model.config, prior=sizes)


def _reads(world_model: WorldModel) -> str:
    """16 hexadecimal digits of what a prior's numbers mean."""
    config = world_model.config
    meaning = (config.known_actions, config.state_spec, config.vocabulary, config.image_size)
    return text_digest(weights_digest(world_model.tokenizer), *map(repr, meaning))
