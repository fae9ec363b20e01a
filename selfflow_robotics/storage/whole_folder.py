"""A folder that appears whole or not at all: it is written beside, and renamed when it is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from selfflow_robotics.storage.whole_file import beside, told_of_full_disk

_Written = TypeVar("_Written", bound="WholeFolder")


class WholeFolder(ABC):
    """Something written in a hidden sibling folder, renamed when the `with` block succeeds.

    What killed writers of the same folder left is removed.

    Raises:
        FileExistsError: path exists, or does by the end: another process wrote it.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        _require_absent(self._path)
        self._beside = beside(self._path, folder=True)
        self._folder = self._beside.__enter__()

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
                    _put(self._folder, self._path)
            else:
                with suppress(OSError, RuntimeError):  # the error that is there is the one to tell
                    self._abandon()
        finally:
            self._beside.__exit__(None, None, None)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, hidden beside its place, which it takes when the block succeeds.

    Raises:
        FileExistsError: path exists, or does by the end.
    """
    _require_absent(path)
    with beside(path, folder=True) as partial:
        yield partial
        _put(partial, path)


def _put(partial: Path, path: Path) -> None:
    _require_absent(path)
    partial.chmod(0o755)
    partial.rename(path)


def _require_absent(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise FileExistsError(f"{path} exists already; name another folder or remove it first")
