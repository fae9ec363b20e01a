"""General video for pretraining: a folder of video files, read clip by clip with PyAV."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.resize import centre_crop, covering_size

__all__ = ["BrokenVideo", "VideoFolder"]

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".gif")


@dataclass(frozen=True)
class BrokenVideo:
    """A file that could not be read."""

    path: str
    reason: str


@dataclass(frozen=True)
class _Clip:
    path: str
    start: float  # s
    frames: int


class VideoFolder:
    """Clips of the video files of a folder, as episodes without actions.

    Only headers and the ends of the files are read at first; a clip is decoded when it is asked
    for. Files that cannot be read are set aside, named in :attr:`broken`, up to a share of all.

    Example:
        ``VideoFolder("videos", image_size=(64, 80), frames=32)[5].images``
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
            path: A folder (searched with its subfolders), a glob such as ``videos/*.mp4``, or one
                file.
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
        self._files = _find(self._path)
        self._broken: dict[str, BrokenVideo] = {}
        self._clips: list[_Clip] = []
        for file in self._files:
            try:
                seconds = _readable_seconds(file)
            except (av.FFmpegError, OSError, ValueError) as error:
                self._set_aside(file, error)
                continue
            total = max(1, int(seconds * rate_hz + 1e-6))
            self._clips += [
                _Clip(file, first / rate_hz, min(frames, total - first))
                for first in range(0, total, frames)
            ]
        self._require_enough()

    @property
    def name(self) -> str:
        """What the source is called in messages."""
        return self._path

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

        When its file turns out to be damaged there, the file is set aside with a warning and the
        next readable clip is returned in its place (its ``id`` tells which).

        Raises:
            IndexError: ``index`` is outside 0..len-1.
            ValueError: Too many files are unreadable by now.
        """
        if not 0 <= index < len(self._clips):
            raise IndexError(f"{self._path} has {len(self._clips)} clips, not a number {index}")
        for step in range(len(self._clips)):
            clip = self._clips[(index + step) % len(self._clips)]
            if clip.path in self._broken:
                continue
            try:
                images = self._decode(clip)
            except (av.FFmpegError, OSError, ValueError) as error:
                self._set_aside(clip.path, error)
                self._require_enough()
                warnings.warn(
                    f"{clip.path} is set aside, it cannot be read at {clip.start:.1f} s: {error}",
                    stacklevel=2,
                )
                continue
            return Episode(
                images=images,
                actions=None,
                states=None,
                instructions=(),
                success=None,
                source="video",
                id=f"{clip.path}@{clip.start:.2f}s",
            )
        raise ValueError(f"no clip of {self._path} can be read; replace the files")

    def _decode(self, clip: _Clip) -> NDArray[np.uint8]:
        """(frames, height, width, 3): at each time the frame shown then."""
        images: list[NDArray[np.uint8]] = []
        shown: VideoFrame | None = None
        for time, frame in _frames_from(clip.path, clip.start):
            # A frame is shown until the next one, so times up to this frame belong to the last.
            while len(images) < clip.frames and shown is not None:
                if clip.start + len(images) / self._rate_hz + 1e-4 >= time:
                    break
                images.append(self._fit(shown))
            if len(images) == clip.frames:
                break
            shown = frame
        if shown is None:
            raise ValueError("no frame")
        while len(images) < clip.frames:
            images.append(self._fit(shown))
        return np.stack(images)

    def _fit(self, frame: VideoFrame) -> NDArray[np.uint8]:
        height, width = covering_size((frame.height, frame.width), self._image_size)
        scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
        return centre_crop(scaled.to_ndarray().astype(np.uint8, copy=False), self._image_size)

    def _set_aside(self, path: str, error: Exception) -> None:
        self._broken[path] = BrokenVideo(path, str(error))

    def _require_enough(self) -> None:
        count = len(self._broken)
        if count > self._max_broken * len(self._files) or count == len(self._files):
            names = "; ".join(f"{video.path} ({video.reason})" for video in self.broken[:5])
            more = f" and {count - 5} more" if count > 5 else ""
            raise ValueError(
                f"{count} of {len(self._files)} video files of {self._path} cannot be read, more "
                f"than the allowed share of {self._max_broken:g}: {names}{more}; replace or remove "
                "them, or allow a greater share"
            )


def _find(path: str) -> list[str]:
    if os.path.isdir(path):
        found = [str(p) for p in Path(path).rglob("*") if p.suffix.lower() in EXTENSIONS]
    else:
        found = [p for p in glob.glob(path, recursive=True) if os.path.isfile(p)]
    if not found:
        raise FileNotFoundError(
            f"{path} holds no video file ({', '.join(EXTENSIONS)}); give a folder, a glob or a file"
        )
    return sorted(found)


def _frames_from(path: str, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds since the first frame, frame) from the key frame at or before ``start`` on."""
    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no video stream")
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise ValueError("its video stream has no time base")
        origin = stream.start_time or 0
        if start > 0:
            container.seek(int(start / stream.time_base) + origin, stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None:
                yield float((frame.pts - origin) * stream.time_base), frame


def _readable_seconds(path: str) -> float:
    """Length in seconds; the first frame and those after the last key frame must decode.

    Headers of truncated files promise frames that are not there: only decoding tells.
    """
    with av.open(path) as container:
        if not container.streams.video:
            raise ValueError("it has no video stream")
        stream = container.streams.video[0]
        if stream.time_base is None:
            raise ValueError("its video stream has no time base")
        promised = 0.0
        if stream.duration is not None:
            promised = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            promised = container.duration / av.time_base
        rate = float(stream.average_rate or 25)
    next(_frames_from(path, 0.0), None)
    last: float | None = None
    for time, _ in _frames_from(path, max(0.0, promised - 1 / rate)):
        last = time
    if last is None:
        raise ValueError("it ends before its last frame: truncated?")
    if promised and last < promised - max(1.0, 3 / rate):
        raise ValueError(f"it ends after {last:.1f} of {promised:.1f} s: truncated?")
    return last + 1 / rate
