"""One part of a latent cache on disk: `latents.npy`, memory-mapped, and all else in `rows.npz`.

That has checksums of its own, and those of `latents.npy`, which are looked at when it is read.
"""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...storage.whole_folder import whole_folder
from ..clips import LatentEpisodes
from ..video.source import BrokenVideo
from .checked_rows import CheckedRows, checksums_of
from .joined_rows import JoinedRows

_LATENTS, _ROWS = "latents.npy", "rows.npz"
_ARRAYS = (
    *("actions", "states", "demonstrated", "texts", "told", "steps_to_success", "steps_left"),
    "offsets",
)


@dataclass(frozen=True)
class Part:
    """The episodes of a part, and what could not be read of it."""

    latents: LatentEpisodes
    broken: tuple[BrokenVideo, ...] = ()


def part_folder(cache: Path, number: int) -> Path:
    """Where part `number` of a cache lies, once it is whole."""
    return cache / f"part-{number:05d}"


def write_part(cache: Path, number: int, part: Part) -> None:
    """Write a part, in full or not at all; the same part gives the same bytes.

    Raises:
        OSError: there is no room, or no right to write.
    """
    target = part_folder(cache, number)
    try:
        with whole_folder(target) as partial:
            made = part.latents
            latents = np.asarray(made.latents)
            rows = {name: getattr(made, name) for name in (*_ARRAYS, "ids")}
            header = _save_latents(partial / _LATENTS, latents)
            rows["header"] = np.frombuffer(header, np.uint8)
            rows["checksums"] = checksums_of(latents)
            broken = [(video.path, video.reason) for video in part.broken]
            rows["broken"] = np.array(broken, np.str_).reshape(-1, 2)
            given = {name: array for name, array in rows.items() if array is not None}
            np.savez(partial / _ROWS, **given)
    except OSError as error:
        raise OSError(
            f"{target} could not be written ({error}); make room on its disk and run again, the "
            "parts before it are kept"
        ) from error


def _save_latents(path: Path, latents: NDArray[np.float16]) -> bytes:
    """`numpy.save`, which does not notice when the last bytes do not fit on the disk.

    Returns:
        The file's header.
    """
    header = io.BytesIO()
    said = np.lib.format.header_data_from_array_1_0(latents)
    np.lib.format.write_array_header_1_0(header, said)
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(latents.tobytes())
        file.flush()
        os.fsync(file.fileno())
    return header.getvalue()


def read_part(cache: Path, number: int, check: bool = False) -> Part:
    """Open a part: rows are read, latents are memory-mapped and checked when they are first read.

    All of them are read and checked now where `check` says so.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    folder = part_folder(cache, number)
    path = folder / _ROWS
    try:
        with np.load(path) as found:
            rows = {"actions": None, "states": None, **found}
        path = folder / _LATENTS
        header = rows.pop("header").tobytes()
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                raise ValueError("its header is not the one that was written")
        # "c", as "r", never writes to the file, and torch takes it without a warning.
        mapped = np.load(path, mmap_mode="c")
        latents = CheckedRows(mapped, rows.pop("checksums"), path)
        if len(latents) != rows["offsets"][-1]:
            raise ValueError(f"it holds {len(latents)} of {rows['offsets'][-1]} frames")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is truncated or damaged ({error}); remove {folder} and run again, this part "
            "alone is encoded anew"
        ) from None
    if check:
        latents.check()
    broken = tuple(BrokenVideo(str(path), str(reason)) for path, reason in rows.pop("broken"))
    return Part(LatentEpisodes(latents=JoinedRows([latents]), **rows), broken)
