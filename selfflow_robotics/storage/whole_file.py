"""Files and folders that appear whole or not at all. Imports nothing of ours.

They are written beside their place under a hidden name, `.NAME-xxxxxxxx-partial`, and renamed. A
lock tells the partial of a writer that goes on from that of one that was killed, which the next
writer of the same thing removes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

SUFFIX = "-partial"
_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


def write_whole(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write a whole file or nothing: a reader never sees a part of it.

    Args:
        path: the file; its folder is made when missing.
        content: text (written as UTF-8), bytes, or what writes a file of the name it is given.

    Raises:
        OSError: there is no room, or no right to write.
    """
    with told_of_full_disk(path), whole_file(path) as partial:
        if callable(content):
            content(partial)
        else:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def whole_file(path: Path, within: Path | None = None) -> Iterator[Path]:
    """A file to write, hidden beside its place, which it takes when the block succeeds.

    It is written `within` another folder of the same disk where one is given.
    """
    with beside(within / path.name if within else path) as partial:
        yield partial
        # A temporary file is private; the result gets the rights of any new file.
        mask = os.umask(0)
        os.umask(mask)
        with told_of_full_disk(path):
            partial.chmod(0o666 & ~mask)
            os.replace(partial, path)


def require_writable(path: Path) -> None:
    """Find out, before the work, whether a file can be written in the end.

    Raises:
        OSError: it cannot.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file to write")
    for above in path.parents:
        if above.is_file():
            raise NotADirectoryError(f"{path} cannot be written: {above} is a file, no folder")
    with beside(path):
        pass


@contextmanager
def beside(path: Path, *, folder: bool = False) -> Iterator[Path]:
    """An empty file or folder to write, for its writer to rename to `path`; removed if it is not.

    What killed writers of the same path left is removed before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{escape(path.name)}-*{SUFFIX}"):
        _remove_if_left(left)
    with told_of_full_disk(path):
        partial, lock = _new(path, folder)
    try:
        yield partial
    finally:
        _remove(partial)
        os.close(lock)


def _new(path: Path, folder: bool) -> tuple[Path, int]:
    """A partial that is locked."""
    while True:
        prefix = f".{path.name}-"
        if folder:
            name = tempfile.mkdtemp(SUFFIX, prefix, path.parent)
        else:
            made, name = tempfile.mkstemp(SUFFIX, prefix, path.parent)
            os.close(made)
        try:
            lock = os.open(name, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for one that was left
            continue
        with suppress(OSError):  # some file systems have no locks; nothing is removed there
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.exists(name):
            return Path(name), lock
        os.close(lock)


def _remove_if_left(partial: Path) -> None:
    with suppress(OSError):  # gone, or another's
        lock = os.open(partial, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(partial)
        finally:
            os.close(lock)


def _remove(partial: Path) -> None:
    if partial.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
    else:
        partial.unlink(missing_ok=True)


@contextmanager
def told_of_full_disk(path: Path) -> Iterator[None]:
    """Turn what a full disk raises, from whichever library, into a sentence about `path`.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = next((text for text in _FULL if text in str(error)), None)
        if reason is None:
            raise
        raise OSError(
            f"{path} could not be written ({reason}); make room on its disk and run again: nothing "
            "half-written is left"
        ) from error
