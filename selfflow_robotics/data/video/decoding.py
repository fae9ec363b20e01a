"""One video file: how long it is, and the frames it shows at given times. Decoded by PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from selfflow_robotics.data.resize import centre_crop, covering_size

UNREADABLE = (av.FFmpegError, OSError, ValueError)
"""What is raised about a file that cannot be read."""

Open = Callable[[], "str | BinaryIO"]
"""Gives what PyAV opens, afresh: a path, or a file object that seeks."""


def decode_clip(
    open_file: Open, start: float, frames: int, rate_hz: float, image_size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(frames, height, width, 3): at each time from `start` seconds on the frame shown then."""
    images: list[NDArray[np.uint8]] = []
    shown: VideoFrame | None = None
    for time, frame in _frames_from(open_file, start):
        # A frame is shown until the next one, so times up to this frame belong to the last.
        while len(images) < frames and shown is not None:
            if start + len(images) / rate_hz + 1e-4 >= time:
                break
            images.append(_fit(shown, image_size))
        if len(images) == frames:
            break
        shown = frame
    if shown is None:
        raise ValueError("no frame")
    while len(images) < frames:
        images.append(_fit(shown, image_size))
    return np.stack(images)


def _fit(frame: VideoFrame, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = covering_size((frame.height, frame.width), image_size)
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return centre_crop(scaled.to_ndarray().astype(np.uint8, copy=False), image_size)


def _frames_from(open_file: Open, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds since the first frame, frame) from the key frame at or before ``start`` on."""
    with av.open(open_file(), "r") as container:
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


def readable_seconds(open_file: Open) -> float:
    """Length in seconds; the first frame and those after the last key frame must decode.

    Headers of truncated files promise frames that are not there: only decoding tells.
    """
    with av.open(open_file(), "r") as container:
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
    next(_frames_from(open_file, 0.0), None)
    last: float | None = None
    for time, _ in _frames_from(open_file, max(0.0, promised - 1 / rate)):
        last = time
    if last is None:
        raise ValueError("it ends before its last frame: truncated?")
    if promised and last < promised - max(1.0, 3 / rate):
        raise ValueError(f"it ends after {last:.1f} of {promised:.1f} s: truncated?")
    return last + 1 / rate
