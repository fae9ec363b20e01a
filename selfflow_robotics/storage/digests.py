"""What tells one data set from another without reading all of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

_ENDS = 1 << 16  # bytes


def text_digest(*texts: str) -> str:
    """16 hexadecimal digits of texts, in their order."""
    digest = blake2b(digest_size=8)
    for text in texts:
        digest.update(f"{len(text)} {text}".encode())
    return digest.hexdigest()


def files_below(folder: Path) -> list[str]:
    """Paths of all files of a folder and its subfolders, sorted by their parts."""
    found = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return sorted(filter(os.path.isfile, found), key=lambda path: path.split(os.sep))


def files_digest(paths: Iterable[str | Path]) -> str:
    """16 hexadecimal digits of files' names, sizes, and first and last 64 KiB, in their order.

    A change in the middle of a file that keeps its size goes unnoticed: reading everything would
    take as long as using it.
    """
    digest = blake2b(digest_size=8)
    for path in paths:  # without a file object each: data sets have 50,000 small files
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(file).st_size
            digest.update(f"{os.path.basename(path)} {size} ".encode())
            digest.update(os.read(file, _ENDS))
            if size > _ENDS:
                os.lseek(file, max(_ENDS, size - _ENDS), os.SEEK_SET)
                digest.update(os.read(file, _ENDS))
        finally:
            os.close(file)
    return digest.hexdigest()
