"""A folder that appears whole or not at all: it is written beside, and renamed when it is done."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

_Written = TypeVar("_Written", bound="WholeFolder")

_FULL = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


class WholeFolder(ABC):
    """Something written in a hidden sibling folder, renamed when the `with` block succeeds.

    Raises:
        FileExistsError: path exists, or does by the end: another process wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        _require_absent(self._path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = tempfile.mkdtemp(
            prefix=f".{self._path.name}-", suffix="-partial", dir=self._path.parent
        )
        self._folder = Path(partial)

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes last."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close what is open; the folder goes."""

    def __enter__(self: _Written) -> _Written:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with told_of_full_disk(self._path):
                    self._finish()
                    _require_absent(self._path)
                    self._folder.chmod(0o755)
                    self._folder.rename(self._path)
            else:
                with suppress(OSError, RuntimeError):  # the error that is there is the one to tell
                    self._abandon()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


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
