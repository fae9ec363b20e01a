"""General video for pretraining: clips of video files, without actions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.video.decoding import UNREADABLE, decode_clip, readable_seconds
from selfflow_robotics.data.video.files import (
    EXTENSIONS,
    VideoFile,
    find_files,
    loose_digest,
    loose_videos,
)
from selfflow_robotics.data.video.shards import members_digest, videos_in
from selfflow_robotics.storage.digests import text_digest


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
class _Clip:
    file: int
    start: float  # s
    frames: int


class VideoClips:
    """Clips of video files, and of those in WebDataset's shards, as episodes without actions.

    Only headers and the ends of the files are read at first; a clip is decoded when it is asked
    for. Files that cannot be read are set aside, named in :attr:`broken`, up to a share of all.

    Example:
        ``VideoClips("videos", image_size=(64, 80), frames=32)[5].images``
    """

    action_spec: ActionSpec | None = None
    state_spec: StateSpec | None = None

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
            path: A folder, a glob or a file, several as `a.tar::b.tar` or `v-{000..063}.tar`; see
                :func:`find_files`.
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
        self.name = os.fspath(path)
        self.image_size = image_size
        self._rate_hz = rate_hz
        self._max_broken = max_broken
        loose, shards = find_files(self.name)
        members = [video for shard in shards for video in videos_in(shard)]
        self._files: list[VideoFile] = [*loose_videos(loose), *members]
        if not self._files:
            raise FileNotFoundError(
                f"{self.name} holds no tar file with videos ({', '.join(EXTENSIONS)}); give a "
                "folder, a file or a glob of them"
            )
        self._broken: dict[str, BrokenVideo] = {}
        self._clips: list[_Clip] = []
        bar = tqdm(self._files, desc=f"looking through {self.name}", unit="file", delay=2)
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
        whole = [file for file in self._files if file.name not in self._broken]
        digests = [loose_digest(whole)] if loose else []
        digests += [members_digest(whole)] if shards else []
        digest = text_digest(*digests) if len(digests) > 1 else digests[0]
        self.identity: Mapping[str, Any] = {"files": digest, "frames": frames, "rate_hz": rate_hz}

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
            raise IndexError(f"{self.name} has {len(self._clips)} clips, not a number {index}")
        clip = self._clips[index]
        file = self._files[clip.file]
        if file.name in self._broken:
            raise UnreadableVideoError(self._broken[file.name])
        try:
            images = decode_clip(file.open, clip.start, clip.frames, self._rate_hz, self.image_size)
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
                f"{count} of {len(self._files)} video files of {self.name} cannot be read, more "
                f"than the allowed share of {self._max_broken:g}: {names}{more}; replace or remove "
                "them, or allow a greater share (max_broken)"
            )
