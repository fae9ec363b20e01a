"""WebDataset shards: tar files of videos with captions, on this machine or in object storage."""

from __future__ import annotations

import glob
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import fsspec

from selfflow_robotics.data.digests import text_digest
from selfflow_robotics.data.video.source import EXTENSIONS, VideoClips, VideoFolder

__all__ = ["VideoShards", "open_videos"]


@dataclass(frozen=True)
class _Member:
    shard: str
    offset: int  # bytes
    size: int  # bytes
    caption: str


class VideoShards(VideoClips):
    """Clips of the videos in tar files, with the captions that lie beside them.

    The samples are those of WebDataset: files of one name, ``key.mp4`` with ``key.txt`` or
    ``key.json`` (its "caption" or "text"). Tars are not unpacked: their headers say where each
    video lies, and its bytes alone are read. Paths are globs of any fsspec file system,
    ``gs://bucket/videos-*.tar``; a file system other than the local one needs its package (gcsfs,
    s3fs).

    Example:
        ``VideoShards("shards/videos-*.tar", image_size=(64, 80), frames=32)[5].images``
    """

    def _find(self) -> Sequence[str]:
        local = os.path.isdir(self._path)
        shards = fsspec.open_files(os.path.join(self._path, "*.tar") if local else self._path)
        names = sorted(file.full_name if "://" in self._path else file.path for file in shards)
        self._members: dict[str, _Member] = {}
        for shard in names:
            self._members.update(_index(shard))
        if not self._members:
            raise FileNotFoundError(
                f"{self._path} holds no tar file with videos ({', '.join(EXTENSIONS)}); give a "
                "folder, a file or a glob of them"
            )
        return list(self._members)

    def _open(self, number: int) -> BinaryIO:
        member = self._members[self._files[number]]
        file = fsspec.open(member.shard).open()
        return io.BufferedReader(_Window(file, member.offset, member.size))

    def _caption(self, number: int) -> str:
        return self._members[self._files[number]].caption

    def _digest(self, numbers: Sequence[int]) -> str:
        members = [self._members[self._files[number]] for number in numbers]
        return text_digest(
            *(f"{os.path.basename(m.shard)} {m.offset} {m.size} {m.caption}" for m in members)
        )


def _index(shard: str) -> Iterator[tuple[str, _Member]]:
    """Name and place of each video of a shard."""
    captions: dict[str, str] = {}
    found: list[tuple[str, tarfile.TarInfo]] = []
    try:
        with fsspec.open(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                # WebDataset's key of a sample: everything before the first dot of the file's name.
                folder, name = os.path.split(member.name)
                key = os.path.join(folder, name.partition(".")[0])
                suffix = os.path.splitext(name)[1].lower()
                if suffix in (".txt", ".json"):
                    content = cast(Any, tar.extractfile(member)).read()
                    captions[key] = captions.get(key) or _caption_of(content, suffix)
                elif suffix in EXTENSIONS:
                    found.append((key, member))
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{shard} is truncated, compressed or no tar file ({error}); copy or pack it again, "
            "uncompressed"
        ) from None
    for key, member in found:
        caption = captions.get(key, "")
        yield f"{shard}/{member.name}", _Member(shard, member.offset_data, member.size, caption)


def _caption_of(content: bytes, suffix: str) -> str:
    if suffix == ".txt":
        return content.decode().strip()
    try:
        entries = json.loads(content)
    except ValueError:
        return ""
    known = entries if isinstance(entries, dict) else {}
    return str(known.get("caption") or known.get("text") or "")


class _Window(io.RawIOBase):
    """A stretch of a larger file as a file of its own."""

    def __init__(self, file: Any, offset: int, size: int) -> None:
        super().__init__()
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = os.SEEK_SET) -> int:
        self._at = to + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        data = self._file.read(min(len(buffer), max(0, self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_videos(
    path: str | os.PathLike[str],
    image_size: tuple[int, int] = (64, 80),
    frames: int = 32,
    rate_hz: float = 5.0,
    max_broken: float = 0.05,
) -> VideoClips:
    """Clips of video files or, where a path names tar files or a folder of them, of shards.

    Raises:
        FileNotFoundError, ValueError: See :class:`VideoClips`.
    """
    name = os.fspath(path)
    tars = name.endswith(".tar") or (os.path.isdir(name) and glob.glob(f"{name}/*.tar"))
    source = VideoShards if tars else VideoFolder
    return source(path, image_size, frames, rate_hz, max_broken)
