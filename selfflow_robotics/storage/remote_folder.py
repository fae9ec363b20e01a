"""The files of a folder, wherever it is: a local path or any URL that fsspec knows."""

from __future__ import annotations

from typing import BinaryIO, cast

import fsspec

from selfflow_robotics.machine.extras import require


class RemoteFolder:
    """A folder to read from: data/rt1, gs://bucket/folder, s3://..., zip://folder::file:///a.zip.

    Raises:
        FileNotFoundError: it does not exist.
        MissingExtraError: what reaches Google's storage is not installed.
    """

    def __init__(self, url: str) -> None:
        if url.startswith(("gs://", "gcs://")):
            require("gcsfs", "gcs")
        self._files, self._root = fsspec.url_to_fs(url)
        if not self._files.isdir(self._root):
            raise FileNotFoundError(f"there is no data set at {url}: the folder does not exist")

    def names(self, inside: str = "") -> tuple[str, ...]:
        """Names of what lies in it, or in one of its folders, sorted; () where that is a file."""
        path = self._path(inside) if inside else self._root
        if not self._files.isdir(path):
            return ()
        entries = (str(entry).rstrip("/") for entry in self._files.ls(path, detail=False))
        return tuple(sorted(entry.rpartition("/")[2] for entry in entries))

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        return bytes(self._files.cat_file(self._path(name)))

    def open(self, name: str) -> BinaryIO:
        """A file, to be read from its beginning."""
        return cast(BinaryIO, self._files.open(self._path(name), "rb"))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name
