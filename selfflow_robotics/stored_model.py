"""A model on disk: a folder with `config.json` and `model.safetensors`.

It is a local one, one shipped with the package, or one of the Hub.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_MAY_STAND_BESIDE = {CONFIG, WEIGHTS, "README.md", "SHA256SUMS", "training", "probes"}


def write_model(
    folder: str | os.PathLike[str], config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write both files, in full or not at all; a model that is there already is replaced.

    Raises:
        FileExistsError: the folder holds something other than a model.
    """
    target = Path(folder)
    require_model_folder(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        (partial / CONFIG).write_text(json.dumps(dict(config), indent=2) + "\n")
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, partial / WEIGHTS)
        target.mkdir(exist_ok=True)
        for name in (WEIGHTS, CONFIG):
            (partial / name).chmod(0o644)
            os.replace(partial / name, target / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def require_model_folder(folder: Path) -> None:
    """Refuse to write a model among other things.

    Raises:
        FileExistsError: the folder holds something other than a model, or is a file.
    """
    if folder.is_dir():
        foreign = {entry.name for entry in folder.iterdir()} - _MAY_STAND_BESIDE
        if foreign:
            raise FileExistsError(
                f"{folder} exists and is not a model's folder (it holds {min(foreign)}); "
                "choose another folder"
            )
    elif folder.exists():
        raise FileExistsError(f"{folder} is a file; choose another folder")


def find_model(name_or_path: str | os.PathLike[str]) -> Path:
    """The folder of a model: a local one, a shipped one by its name, or `org/name` of the Hub.

    Raises:
        FileNotFoundError: there is none; the message lists the shipped ones.
    """
    local = Path(name_or_path)
    if local.is_dir():
        return local
    with as_file(files("selfflow_robotics") / "weights") as shipped:
        names = sorted(p.name for p in shipped.iterdir() if p.is_dir()) if shipped.is_dir() else []
        if str(name_or_path) in names:
            return shipped / str(name_or_path)
    if str(name_or_path).count("/") == 1 and not local.is_absolute():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            wanted = [CONFIG, WEIGHTS, "probes/*"]
            return Path(snapshot_download(str(name_or_path), allow_patterns=wanted))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise FileNotFoundError(
                f"{name_or_path} is neither a folder here nor to be had from the Hub "
                f"({type(error).__name__}); check the name and the network"
            ) from None
    raise FileNotFoundError(
        f"no model {name_or_path}: give a folder, an org/name of the Hub, or a shipped one "
        f"({', '.join(names) or 'none is shipped with this install'})"
    )


def read_model(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and weights of a model's folder.

    Raises:
        FileNotFoundError: a file lacks.
        ValueError: a file is damaged.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} has no {name}; give the folder of a trained model")
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG} is not a model's configuration; copy the model again")
    try:
        return config, load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ValueError(
            f"{folder / WEIGHTS} is truncated or no safetensors file ({error}); copy it again"
        ) from None


def load_weights(module: nn.Module, state: Mapping[str, Tensor], source: Path) -> None:
    """Load weights that must fit exactly, converting them to the module's types.

    Raises:
        ValueError: names the file and the first entry that does not fit.
    """
    own = module.state_dict()
    for key in sorted(own.keys() | state.keys()):
        expected = tuple(own[key].shape) if key in own else "absent"
        found = tuple(state[key].shape) if key in state else "absent"
        if expected != found:
            raise ValueError(
                f"{source / WEIGHTS} does not fit its {CONFIG}: {key} is {found}, expected "
                f"{expected}; copy both files of one model"
            )
    with torch.no_grad():
        module.load_state_dict({k: v.to(own[k].dtype) for k, v in state.items()})
