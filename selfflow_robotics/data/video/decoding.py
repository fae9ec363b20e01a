"""One video file: how long it is, and the frames it shows at given times. Decoded by PyAV."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from selfflow_robotics.data.video.upright import upright
from selfflow_robotics.images.eight_bit import MOST_PIXELS
from selfflow_robotics.images.resize import centre_crop, covering_size

UNREADABLE = (av.FFmpegError, OSError, ValueError)
"""What is raised about a file that cannot be read."""

Open = Callable[[], "str | BinaryIO"]
"""Gives what PyAV opens, afresh: a path, or a file object that seeks."""

Shown = Iterator[tuple[float, VideoFrame]]
"""(seconds since the first frame, frame), in the order in which they are shown."""


class _TimesJumpError(Exception):
    """The times of a file do not rise from frame to frame."""


def decode_clip(
    open_file: Open, start: float, frames: int, rate_hz: float, image_size: tuple[int, int]
) -> NDArray[np.uint8]:
    """(frames, height, width, 3): at each time from `start` seconds on the frame shown then.

    Times count from the first frame, wherever the file puts that. Where a file's times do not rise,
    as those of B-frames in AVI, its frames are counted instead.
    """
    try:
        return _sampled(_by_time(open_file, start), start, frames, rate_hz, image_size)
    except _TimesJumpError:
        return _sampled(_by_count(open_file), start, frames, rate_hz, image_size)


def readable_seconds(open_file: Open) -> float:
    """Length in seconds; the first frame and those after the last key frame must decode.

    Headers of truncated files promise frames that are not there: only decoding tells.
    """
    with _opened(open_file) as (container, stream):
        rate = float(stream.average_rate or 25)
        promised = _promised(container, stream, _first_time(container, stream))
    try:
        shown = deque(_by_time(open_file, max(0.0, promised - 1 / rate)), maxlen=1)
    except _TimesJumpError:
        return _count(open_file) / rate
    if not shown:
        raise ValueError("it ends before its last frame: truncated?")
    last, _ = shown[0]
    if promised and last < promised - max(1.0, 3 / rate) and not _sound_is_whole(open_file):
        raise ValueError(f"it ends after {last:.1f} of {promised:.1f} s: truncated?")
    return last + 1 / rate


@contextmanager
def _opened(open_file: Open) -> Iterator[tuple[InputContainer, VideoStream]]:
    limit = {"max_pixels": str(MOST_PIXELS)}
    with av.open(open_file(), "r", options=limit) as container:
        stream = stream_of(container)
        if stream.time_base is None:
            raise ValueError("its video stream has no time base")
        if not 0 < stream.width * stream.height <= MOST_PIXELS:
            raise ValueError(
                f"it declares no size of its frames or one of over {MOST_PIXELS // 10**6} million "
                "pixels"
            )
        stream.codec_context.options = limit
        yield container, stream


def stream_of(container: InputContainer) -> VideoStream:
    """The first video stream.

    Raises:
        ValueError: there is none, or FFmpeg knows no codec that would decode it.
    """
    if not container.streams.video:
        raise ValueError("it has no video stream")
    stream = container.streams.video[0]
    if not stream.codec_context:
        raise ValueError("its codec is unknown")
    return stream


def _sampled(
    shown_at: Shown, start: float, frames: int, rate_hz: float, image_size: tuple[int, int]
) -> NDArray[np.uint8]:
    images: list[NDArray[np.uint8]] = []
    shown: VideoFrame | None = None
    for time, frame in shown_at:
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
    sideways = frame.rotation % 180 != 0
    stored = (frame.height, frame.width)
    size = covering_size(stored[::-1] if sideways else stored, image_size)
    height, width = size[::-1] if sideways else size
    scaled = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    image = upright(scaled.to_ndarray().astype(np.uint8, copy=False), frame)
    return centre_crop(image, image_size)


def _by_time(open_file: Open, start: float) -> Shown:
    """From a frame at or before ``start`` on, or from the first one."""
    # Files are searched by decoding times, which with B-frames run ahead of those shown.
    for margin in (0.0, 1.0, 10.0, max(0.0, start)):
        with _opened(open_file) as (container, stream):
            frames = _rising(container, stream, start - margin)
            first = next(frames, None)
            if first is not None and (first[0] <= start + 1e-4 or margin >= start):
                yield first
                yield from frames
                return


def _rising(container: InputContainer, stream: VideoStream, start: float) -> Shown:
    """From the frame that a search for ``start`` leads to on; from the first one if it is 0."""
    base = stream.time_base
    assert base is not None
    first: Fraction | None = None
    if start > 0:
        first = _first_time(container, stream)
        container.seek(int((Fraction(start) + first) / base), stream=stream)
    last: float | None = None
    for frame in container.decode(stream):
        if frame.pts is None:
            continue
        if first is None:
            first = frame.pts * base
        time = float(frame.pts * base - first)
        if last is not None and time <= last:
            raise _TimesJumpError
        last = time
        yield time, frame


def _by_count(open_file: Open) -> Shown:
    """From the first frame on, at an even rate."""
    with _opened(open_file) as (container, stream):
        rate = stream.average_rate or Fraction(25)
        for number, frame in enumerate(container.decode(stream)):
            yield float(number / rate), frame


def _first_time(container: InputContainer, stream: VideoStream) -> Fraction:
    """Of the first frame, in seconds on the file's own clock; leaves the container anywhere."""
    frame = next(container.decode(stream), None)
    base = stream.time_base
    assert base is not None
    if frame is None:
        raise ValueError("no frame")
    return (frame.pts or 0) * base


def _promised(container: InputContainer, stream: VideoStream, first: Fraction) -> float:
    """Seconds from the first frame to the end that headers tell of; 0 where they tell of none."""
    base = stream.time_base
    assert base is not None
    if stream.duration is not None:
        late = first - (stream.start_time or 0) * base
        return max(0.0, float(stream.duration * base - late))
    if container.duration is not None:
        return max(0.0, container.duration / av.time_base - float(first))
    return 0.0


def _count(open_file: Open) -> int:
    """Frames in the file, by its packets."""
    with _opened(open_file) as (container, stream):
        return sum(packet.size > 0 for packet in container.demux(stream))


def _sound_is_whole(open_file: Open) -> bool:
    """Whether sound goes on to the end that the header promises: then the picture is just shorter.

    Of containers whose header tells one length for all.
    """
    with _opened(open_file) as (container, stream):
        if stream.duration is not None or container.duration is None:
            return False
        promised = container.duration / av.time_base
        others = [other for other in container.streams if other.type == "audio"]
        end = 0.0
        for packet in container.demux(others) if others else ():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        return end >= promised - 1.0
