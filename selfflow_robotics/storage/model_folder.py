"""A model on disk: a folder with `config.json` and `model.safetensors`.

It is a local one, one shipped with the package, or one of the Hub. The configuration holds the
checksum of its weights. Both change together: new weights are written beside the old ones, the new
configuration takes the place of the old one, and from then on the weights are those that it names,
wherever they lie; then they take their own place.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .notice import Notice
from .one_writer import only_writer
from .whole_file import SUFFIX, told_of_full_disk, write_whole

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_NEW_WEIGHTS = f".{WEIGHTS}.new"
_CHECKSUM = "weights_sha256"
_MAY_STAND_BESIDE = {
    *(CONFIG, WEIGHTS, _NEW_WEIGHTS, f".{CONFIG}.new"),  # the last by versions before
    *("README.md", "SHA256SUMS", "training", "probes", "priors"),
}

# Of what a model has, that which is made anew when it is loaded.
UNSTORED = "tokens_in.positions"


def write_model(
    folder: str | os.PathLike[str], config: Mapping[str, Any], state: Mapping[str, Tensor]
) -> None:
    """Write both files, in full or not at all; a model that is there already is replaced.

    Raises:
        FileExistsError: the folder holds something other than a model.
        BlockingIOError: another process writes it.
        OSError: there is no room.
    """
    target = Path(folder)
    require_model_folder(target)
    new = not target.exists()
    new_weights = target / _NEW_WEIGHTS
    with only_writer(target), told_of_full_disk(target):
        _put_in_place(target)
        try:
            _save(state, new_weights)
            entries = {**config, _CHECKSUM: _sha256(new_weights)}
            new_weights.chmod(0o644)
            write_whole(target / CONFIG, json.dumps(entries, indent=2) + "\n")
        except BaseException:
            new_weights.unlink(missing_ok=True)
            with suppress(OSError):
                if new:
                    target.rmdir()
            raise
        os.replace(new_weights, target / WEIGHTS)


def _save(state: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in state.items()}, path)
    except SafetensorError as error:  # that of the system, in words
        raise OSError(str(error)) from None


def _put_in_place(folder: Path) -> None:
    """Finish what a writer did not that was killed after it had changed the configuration."""
    new = folder / _NEW_WEIGHTS
    if new.is_file() and (folder / CONFIG).is_file():
        with suppress(ValueError):  # no configuration to lose weights of
            if _sha256(new) == _read_config(folder).get(_CHECKSUM):
                os.replace(new, folder / WEIGHTS)


def require_model_folder(folder: Path) -> None:
    """Refuse to write a model among other things.

    Raises:
        FileExistsError: the folder holds something other than a model, or is a file.
    """
    if folder.is_dir():
        names = {entry.name for entry in folder.iterdir() if not entry.name.endswith(SUFFIX)}
        foreign = names - _MAY_STAND_BESIDE
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
            wanted = [CONFIG, WEIGHTS, "probes/*", "priors/*"]
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
        ValueError: a file is damaged, or weights are not finite.
    """
    for name, others in ((CONFIG, ()), (WEIGHTS, (_NEW_WEIGHTS,))):
        if not any((folder / one).is_file() for one in (name, *others)):
            raise FileNotFoundError(f"{folder} has no {name}; give the folder of a trained model")
    config = _read_config(folder)
    path = _weights_of(folder, config.pop(_CHECKSUM, None))
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is truncated or no safetensors file ({error}); copy it again"
        ) from None
    for name, value in state.items():
        if not value.isfinite().all():
            raise ValueError(
                f"{path} holds numbers that are not finite, in {name}; copy the model again, or "
                "train it anew"
            )
    return config, state


def weights_checksum(folder: Path) -> str:
    """SHA-256 of a model's weights, as `sha256sum` prints it."""
    return str(_read_config(folder).get(_CHECKSUM) or _sha256(folder / WEIGHTS))


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG} is not a model's configuration; copy the model again")
    return config


def _weights_of(folder: Path, checksum: object) -> Path:
    """The file of the weights that a configuration names."""
    path = folder / WEIGHTS
    if checksum is None:
        warnings.warn(
            f"{folder / CONFIG} has no checksum of its weights, of which damage may go unnoticed; "
            "saving the model anew adds one",
            Notice,
            stacklevel=3,
        )
        return path
    for found in (path, folder / _NEW_WEIGHTS):
        if found.is_file() and _sha256(found) == checksum:
            return found
    raise ValueError(
        f"{path} is truncated, damaged or of another model: its checksum is not the one in "
        f"{CONFIG}; copy it again, or both files of one model"
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
