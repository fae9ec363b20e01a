"""WebDataset shards: tar files of videos with captions, on this machine or in object storage."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import fsspec

from selfflow_robotics.data.video.files import EXTENSIONS, VideoFile, is_apple_double
from selfflow_robotics.storage.digests import text_digest

_CAPTIONS = (".txt", ".json")
_LONGEST_CAPTION = 1 << 20  # bytes
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, EOFError, UnicodeError)


@dataclass(frozen=True)
class ShardVideo(VideoFile):
    """A stretch of a tar file."""

    shard: str
    offset: int  # bytes
    size: int  # bytes

    def open(self) -> BinaryIO:
        """A file object of its bytes alone."""
        file = fsspec.open(self.shard).open()
        return io.BufferedReader(_Window(file, self.offset, self.size))


def members_digest(files: Sequence[VideoFile]) -> str:
    """16 hexadecimal digits of where those in shards lie, and of their captions."""
    members = [file for file in files if isinstance(file, ShardVideo)]
    return text_digest(
        *(f"{os.path.basename(m.shard)} {m.offset} {m.size} {m.caption}" for m in members)
    )


def videos_in(shard: str) -> list[ShardVideo]:
    """The videos of a shard, in its order, with the captions that lie beside them.

    The samples are those of WebDataset: files of one name, ``key.mp4`` with ``key.txt`` or
    ``key.json`` (its "caption" or "text"). A caption whose name is the video's but for the ending
    is its own; otherwise names count up to their first dot. Tars are not unpacked: their headers
    say where each video lies, and its bytes alone are read.

    Raises:
        ValueError: it is damaged, or a caption is no text.
    """
    videos: list[tarfile.TarInfo] = []
    captions: dict[str, str] = {}  # by the member's name
    try:
        with fsspec.open(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in _files_of(tar, shard):
                if _ending(member.name) in _CAPTIONS:
                    captions[member.name] = _caption_of(tar, member, shard)
                elif _ending(member.name) in EXTENSIONS:
                    videos.append(member)
            _require_end(tar, file, shard)
    except _RefusedError:
        raise
    except _DAMAGED as error:
        raise ValueError(
            f"{shard} is truncated, compressed or no tar file ({error}); copy or pack it again, "
            "uncompressed"
        ) from None
    told = _captions_by_video(videos, captions, shard)
    return [
        ShardVideo(f"{shard}/{member.name}", caption, shard, member.offset_data, member.size)
        for member, caption in zip(videos, told, strict=True)
    ]


class _RefusedError(ValueError):
    """What is wrong with a member, in a whole sentence."""


def _files_of(tar: tarfile.TarFile, shard: str) -> Iterator[tarfile.TarInfo]:
    """The members that are videos and captions; links are what they lead to."""
    for member in tar:
        if _ending(member.name) not in (*_CAPTIONS, *EXTENSIONS) or member.isdir():
            continue
        if member.islnk() or member.issym():
            member = _target(tar, member, shard)
        if not member.isreg() or member.issparse():
            raise _RefusedError(
                f"{member.name} in {shard} is no ordinary file; pack the shard again without it"
            )
        if os.path.basename(member.name).startswith("._") and is_apple_double(_read(tar, member)):
            continue
        yield member


def _target(tar: tarfile.TarFile, link: tarfile.TarInfo, shard: str) -> tarfile.TarInfo:
    try:
        target = tar._find_link_target(link)  # type: ignore[attr-defined]
    except KeyError:
        raise _RefusedError(
            f"{link.name} in {shard} is a link to {link.linkname}, which is not in it; pack the "
            "shard again with the file itself"
        ) from None
    found: tarfile.TarInfo = target.replace(name=link.name, deep=False)
    return found


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read(_LONGEST_CAPTION + 1)


def _require_end(tar: tarfile.TarFile, file: Any, shard: str) -> None:
    """tarfile takes a damaged header for the end; behind the end of a whole tar all is zero."""
    members = tar.getmembers()
    last = f"behind {members[-1].name}" if members else "at its beginning"
    file.seek(0, os.SEEK_END)
    size = file.tell()
    if size < tar.offset + tarfile.BLOCKSIZE:
        raise _RefusedError(
            f"{shard} is truncated {last}: its end is missing; copy or pack it again"
        )
    file.seek(tar.offset)
    while block := file.read(1 << 20):
        if block.strip(b"\0"):
            raise _RefusedError(
                f"{shard} is damaged {last}, so that nothing further is found though bytes "
                "follow; copy or pack it again (tars that were joined are no tar)"
            )


def _captions_by_video(
    videos: Sequence[tarfile.TarInfo], captions: dict[str, str], shard: str
) -> list[str]:
    """The caption of each video: that of exactly its name, else that of its key."""
    stems = {os.path.splitext(video.name)[0] for video in videos}
    exact: dict[str, str] = {}
    by_key: dict[str, str] = {}
    for name, caption in captions.items():
        stem = os.path.splitext(name)[0]
        chosen, key = (exact, stem) if stem in stems else (by_key, _key(name))
        chosen[key] = chosen.get(key) or caption
    left = [video for video in videos if os.path.splitext(video.name)[0] not in exact]
    for key, number in Counter(_key(video.name) for video in left).items():
        if number > 1 and by_key.get(key):
            names = [video.name for video in left if _key(video.name) == key]
            raise ValueError(
                f"{names[0]} and {names[1]} in {shard} have the same name up to the first dot, and "
                "one caption; name each caption as its video but for the ending"
            )
    return [
        exact.get(os.path.splitext(video.name)[0]) or by_key.get(_key(video.name), "")
        for video in videos
    ]


def _key(name: str) -> str:
    """WebDataset's key of a sample: everything before the first dot of the file's name."""
    folder, base = os.path.split(name)
    return os.path.join(folder, base.partition(".")[0])


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _caption_of(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: str) -> str:
    content = _read(tar, member)
    if len(content) > _LONGEST_CAPTION:
        raise _RefusedError(
            f"{member.name} in {shard} has {member.size} bytes, too many for a caption"
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _RefusedError(
            f"{member.name} in {shard} is no text in UTF-8 ({error}); write the caption again"
        ) from None
    if _ending(member.name) == ".txt":
        return text.strip()
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
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
