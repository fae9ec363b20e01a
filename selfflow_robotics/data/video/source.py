"""General video for pretraining: clips of video files, without actions."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.video.decoding import UNREADABLE, decode_clip, readable_seconds
from selfflow_robotics.data.video.files import EXTENSIONS, find_files
from selfflow_robotics.storage.digests import files_digest, text_digest

__all__ = ["BrokenVideo", "UnreadableVideoError", "VideoClips", "VideoFolder"]


@dataclass(frozen=True)
class BrokenVideo:
    """A file that could not be read."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"left out {self.path}: {self.reason}"


class UnreadableVideoError(ValueError):
    """A clip cannot be decoded; its file is set aside, and the others can be read on."""

    def __init__(self, video: BrokenVideo) -> None:
        super().__init__(f"{video.path} cannot be read ({video.reason}) and is set aside")
        self.video = video


@dataclass(frozen=True)
class VideoFile(ABC):
    """A video file, wherever it lies."""

    name: str
    caption: str  # what it is said to show; empty when nothing is

    @abstractmethod
    def open(self) -> str | BinaryIO:
        """What PyAV reads."""


@dataclass(frozen=True)
class _Clip:
    file: int
    start: float  # s
    frames: int


class VideoClips(ABC):
    """Clips of video files, as episodes without actions.

    Only headers and the ends of the files are read at first; a clip is decoded when it is asked
    for. Files that cannot be read are set aside, named in :attr:`broken`, up to a share of all.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_size: tuple[int, int] = (64, 80),
        frames: int = 32,
        rate_hz: float = 5.0,
        max_broken: float = 0.05,
    ) -> None:
        """Looks through the files.

        Args:
            path: Where they are.
            image_size: (height, width) of the frames; scaled to cover it, then cropped.
            frames: Frames a clip, at least 1; the last clip of a file may have fewer.
            rate_hz: Frames a second, above 0. A file with fewer repeats frames.
            max_broken: Greatest share of the files that may be unreadable, 0 to 1.

        Raises:
            FileNotFoundError: No video file is there.
            ValueError: An argument is out of range, or too many files are unreadable.
        """
        if frames < 1 or not rate_hz > 0 or min(image_size) < 1 or not 0 <= max_broken <= 1:
            raise ValueError(
                f"video clips of {frames} frames of {image_size} at {rate_hz} Hz with a share of "
                f"{max_broken} unreadable files: frames and sizes must be at least 1, the rate "
                "above 0, the share between 0 and 1"
            )
        self._path = os.fspath(path)
        self._image_size = image_size
        self._rate_hz = rate_hz
        self._max_broken = max_broken
        self._files = self._find()
        self._broken: dict[str, BrokenVideo] = {}
        self._clips: list[_Clip] = []
        bar = tqdm(self._files, desc=f"looking through {self._path}", unit="file", delay=2)
        for number, file in enumerate(bar):
            try:
                seconds = readable_seconds(file.open)
            except UNREADABLE as error:
                self._broken[file.name] = BrokenVideo(file.name, str(error))
                continue
            total = max(1, int(seconds * rate_hz + 1e-6))
            self._clips += [
                _Clip(number, first / rate_hz, min(frames, total - first))
                for first in range(0, total, frames)
            ]
        self._require_enough()
        digest = self._digest([file for file in self._files if file.name not in self._broken])
        self.identity: Mapping[str, Any] = {"files": digest, "frames": frames, "rate_hz": rate_hz}

    @abstractmethod
    def _find(self) -> Sequence[VideoFile]:
        """The files."""

    @abstractmethod
    def _digest(self, files: Sequence[VideoFile]) -> str:
        """Of what these files hold."""

    @property
    def name(self) -> str:
        """What the source is called in messages."""
        return self._path

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self._image_size

    @property
    def action_spec(self) -> ActionSpec | None:
        """None: there are no actions."""
        return None

    @property
    def state_spec(self) -> StateSpec | None:
        """None: there is no proprioception."""
        return None

    @property
    def broken(self) -> tuple[BrokenVideo, ...]:
        """Files set aside so far."""
        return tuple(self._broken.values())

    def __len__(self) -> int:
        """Number of clips."""
        return len(self._clips)

    def __getitem__(self, index: int) -> Episode:
        """Decodes clip ``index``.

        Raises:
            IndexError: ``index`` is outside 0..len-1.
            UnreadableVideoError: Its file is damaged there; it is set aside.
            ValueError: Too many files are unreadable by now.
        """
        if not 0 <= index < len(self._clips):
            raise IndexError(f"{self._path} has {len(self._clips)} clips, not a number {index}")
        clip = self._clips[index]
        file = self._files[clip.file]
        if file.name in self._broken:
            raise UnreadableVideoError(self._broken[file.name])
        try:
            images = decode_clip(
                file.open, clip.start, clip.frames, self._rate_hz, self._image_size
            )
        except UNREADABLE as error:
            video = BrokenVideo(file.name, f"at {clip.start:.1f} s: {error}")
            self.set_aside(video)
            raise UnreadableVideoError(video) from error
        return Episode(
            images=images,
            actions=None,
            states=None,
            instructions=(file.caption,) * clip.frames if file.caption else (),
            success=None,
            source="video",
            id=f"{file.name}@{clip.start:.2f}s",
        )

    def set_aside(self, video: BrokenVideo) -> None:
        """Read no more of a file.

        Raises:
            ValueError: too many files are unreadable by now; the message names them.
        """
        if video.path not in self._broken:
            self._broken[video.path] = video
            self._require_enough()

    def _require_enough(self) -> None:
        count = len(self._broken)
        if count > self._max_broken * len(self._files) or count == len(self._files):
            names = "; ".join(f"{video.path} ({video.reason})" for video in self.broken[:5])
            more = f" and {count - 5} more" if count > 5 else ""
            raise ValueError(
                f"{count} of {len(self._files)} video files of {self._path} cannot be read, more "
                f"than the allowed share of {self._max_broken:g}: {names}{more}; replace or remove "
                "them, or allow a greater share (max_broken)"
            )


@dataclass(frozen=True)
class LooseVideo(VideoFile):
    """A file of its own."""

    def open(self) -> str:
        """Its path."""
        return self.name


class VideoFolder(VideoClips):
    """Clips of the video files of a folder (searched with its subfolders), of a glob, or one file.

    A text file of the same name beside a video, ``NAME.txt`` beside ``NAME.mp4``, is its caption,
    as trainers of video models usually have it.

    Example:
        ``VideoFolder("videos", image_size=(64, 80), frames=32)[5].images``
    """

    def _find(self) -> Sequence[VideoFile]:
        found, _ = find_files(self._path)
        if not found:
            raise FileNotFoundError(
                f"{self._path} holds no video file ({', '.join(EXTENSIONS)}); give a folder, a "
                "glob or a file"
            )
        return loose_videos(found)

    def _digest(self, files: Sequence[VideoFile]) -> str:
        return loose_digest(files)


def loose_videos(names: Sequence[str]) -> list[LooseVideo]:
    """Files with their captions.

    Raises:
        ValueError: a caption is no text.
    """
    return [LooseVideo(name, _caption_beside(Path(name))) for name in names]


def loose_digest(files: Sequence[VideoFile]) -> str:
    """16 hexadecimal digits of what files of their own hold, and of their captions."""
    digest = files_digest(Path(file.name) for file in files)
    captions = [file.caption for file in files]
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
