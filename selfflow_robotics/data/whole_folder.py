"""A folder that appears whole or not at all: it is written beside, and renamed when it is done."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


def begin_folder(path: Path) -> Path:
    """A hidden folder beside `path` to write in.

    Raises:
        FileExistsError: path exists.
    """
    _require_absent(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix="-partial", dir=path.parent))


def put_in_place(folder: Path, path: Path) -> None:
    """Rename what is written to `path`.

    Raises:
        FileExistsError: path exists by now: another process wrote it.
    """
    _require_absent(path)
    folder.chmod(0o755)
    folder.rename(path)


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


def _require_absent(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists already; name another folder or remove it first")
