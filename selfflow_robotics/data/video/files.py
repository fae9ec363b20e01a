"""The video files that a path names: in a folder, by a glob, or by WebDataset's lists, braces."""

from __future__ import annotations

import glob
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import BinaryIO

import fsspec

from selfflow_robotics.storage.digests import files_digest, text_digest

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif")
TAR = ".tar"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True)
class VideoFile(ABC):
    """A video file, wherever it lies."""

    name: str
    caption: str  # what it is said to show; empty when nothing is

    @abstractmethod
    def open(self) -> str | BinaryIO:
        """What PyAV reads."""


@dataclass(frozen=True)
class LooseVideo(VideoFile):
    """A file of its own.

    A text file of the same name beside it, ``NAME.txt`` beside ``NAME.mp4``, is its caption, as
    trainers of video models usually have it.
    """

    def open(self) -> str:
        """Its path."""
        return self.name


def find_files(path: str) -> tuple[list[str], list[str]]:
    """Video files and tar files that a path names, each sorted.

    Folders are searched with their subfolders, those that are links too. `a.tar::b.tar` are two
    files, `v-{000..002}.tar` three, `{a,b}.mp4` two; a name that exists as it stands is meant as it
    stands. Paths with `://` are globs of any fsspec file system.

    Raises:
        FileNotFoundError: one of the paths names nothing.
        ValueError: a tar file is compressed.
    """
    found: set[str] = set()
    for one in _several(path):
        files = set(_named_by(one))
        if not files:
            raise FileNotFoundError(
                f"{one} holds no video file ({', '.join(EXTENSIONS)}) and no tar file of them; "
                "give a folder, a glob or a file"
            )
        found |= files
    for file in found:
        if file.lower().endswith(_COMPRESSED):
            raise ValueError(
                f"{file} is a compressed tar file, of which no single video can be read; "
                "decompress it"
            )
    tars = sorted(file for file in found if file.lower().endswith(TAR))
    return sorted(found.difference(tars)), tars


def is_apple_double(head: bytes) -> bool:
    """Whether a file begins as the `._NAME` does that macOS puts beside NAME on foreign disks."""
    return head[:4] == b"\x00\x05\x16\x07"


def _several(path: str) -> list[str]:
    """The paths of a list and of braces."""
    if os.path.lexists(path):
        return [path]
    parts = path.split("::")
    if len(parts) > 1 and all(_is_wanted(part) for part in parts):
        return [one for part in parts for one in _several(part)]
    pieces = re.split(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}", path)
    choices = [[piece] if i % 2 == 0 else _choices(piece) for i, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(braces: str) -> list[str]:
    numbers = _RANGE.fullmatch(braces)
    if numbers is None:
        return braces.split(",") if "," in braces else [f"{{{braces}}}"]
    first, last = numbers.groups()
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


def _named_by(path: str) -> Iterator[str]:
    if "://" in path:
        for file in fsspec.open_files(path):
            yield file.full_name
    elif os.path.isdir(path):
        yield from _inside(path)
    elif os.path.lexists(path):
        yield path
    else:
        yield from (file for file in glob.glob(path, recursive=True) if not os.path.isdir(file))


def _inside(folder: str) -> Iterator[str]:
    """Videos and tars in a folder and below; each folder is entered once, however it is linked."""
    entered: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        for name in files:
            file = os.path.join(where, name)
            if _is_wanted(name) and not (name.startswith("._") and _is_apple_double_file(file)):
                yield file


def _is_wanted(name: str) -> bool:
    return name.lower().endswith((*EXTENSIONS, TAR, *_COMPRESSED))


def _is_apple_double_file(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return is_apple_double(file.read(4))
    except OSError:
        return False  # it is found out, and said, where videos are opened


def loose_videos(names: Sequence[str]) -> list[LooseVideo]:
    """Files with their captions.

    Raises:
        ValueError: a caption is no text.
    """
    return [LooseVideo(name, _caption_beside(Path(name))) for name in names]


def loose_digest(files: Sequence[VideoFile]) -> str:
    """16 hexadecimal digits of what files of their own hold, and of their captions."""
    loose = [file for file in files if isinstance(file, LooseVideo)]
    digest = files_digest(Path(file.name) for file in loose)
    captions = [file.caption for file in loose]
    return text_digest(digest, *captions) if any(captions) else digest


def _caption_beside(video: Path) -> str:
    path = video.with_suffix(".txt")
    if not path.is_file():
        return ""
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8 ({error}), though it lies where the caption of "
            f"{video.name} belongs; write it again or remove it"
        ) from None
