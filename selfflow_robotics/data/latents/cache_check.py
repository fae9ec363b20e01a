"""Is a latent cache whole and sound? Every part is read and checked against its checksums."""

from __future__ import annotations

import json
from pathlib import Path

from tqdm import tqdm

from ..checked import Checked
from .cache import KEY_FILE
from .parts import part_folder, read_part


def is_cache(path: Path) -> bool:
    """Whether a folder holds latents of data sets."""
    return any(path.glob(f"*/{KEY_FILE}"))


def check_cache(path: Path) -> list[Checked]:
    """Check the latents of all data sets of a cache.

    Returns:
        One a data set: episodes, latent frames, bytes. Faults name the file and the remedy.

    Raises:
        ValueError: a key is damaged.
    """
    return [_check_folder(key.parent) for key in sorted(path.glob(f"*/{KEY_FILE}"))]


def _check_folder(folder: Path) -> Checked:
    try:
        key = json.loads((folder / KEY_FILE).read_text())
        count = -(-int(key["data"]["episodes"]) // int(key["part_episodes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / KEY_FILE} is damaged ({error}); remove {folder} to encode anew"
        ) from None
    bar = tqdm(range(count), f"check {folder.name}", unit="part")
    return Checked.total(folder.name, (_check_part(folder, number) for number in bar))


def _check_part(folder: Path, number: int) -> Checked:
    path = part_folder(folder, number)
    if not path.is_dir():
        fault = f"{path} is not there; run the same encoding again, it encodes what lacks"
        return Checked(folder.name, 0, 0, 0, (fault,))
    try:
        found = read_part(folder, number, check=True).latents
    except ValueError as error:
        return Checked(folder.name, 0, 0, 0, (str(error),))
    size = sum(file.stat().st_size for file in path.iterdir())
    return Checked(folder.name, len(found.ids), len(found.latents), size, ())
