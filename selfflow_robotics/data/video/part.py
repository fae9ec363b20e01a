"""Some frames of a video file, by their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from selfflow_robotics.data.video.decoding import stream_of
from selfflow_robotics.data.video.upright import upright

_MARGINS = (0.0, 1.0, 10.0)  # s before a frame to seek to, until one before it comes
_OFF = 0.25  # frames by which a time may miss the rate's grid and still tell its frame's number


@dataclass(frozen=True)
class Frames:
    """Frames of a video, in the order in which they are shown."""

    times: NDArray[np.float64] | None  # (n,) s since the first; None where the file's jump back
    images: tuple[NDArray[np.uint8], ...]  # n of (height, width, 3)
    left: int  # how many follow, where it was asked


class _TimesDisagreeError(Exception):
    """The times of a file are not those of frames at its rate."""


def read_frames(
    file: Path, first: int, count: int, size: tuple[int, int], *, count_left: bool = False
) -> Frames:
    """Decode frames number first, first + 1, ..., turned as the file asks.

    They are found by their times where these are a frame apart, else by counting from the
    beginning of the file: times of some containers jump back or repeat.

    Args:
        first: a frame's number, 0 for the first that is shown.
        count: how many; fewer come where the file ends.
        size: height and width that they must have.
        count_left: whether to decode to the end of the file, to count what follows.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, or is of another size; the message names it.
    """
    with _opened(file) as (container, stream):
        # A frame of a foreign size is refused before it is decoded.
        if sorted((stream.height, stream.width)) != sorted(size):
            raise _size_error((stream.height, stream.width), size)
        try:
            return _gather(_by_time(container, stream, first), first, count, size, count_left)
        except _TimesDisagreeError:
            pass
    with _opened(file) as (container, stream):
        numbered = enumerate(container.decode(stream))
        return _gather(numbered, first, count, size, count_left)


def count_frames(file: Path) -> int:
    """How many frames a video file holds, without decoding them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read; the message names it.
    """
    with _opened(file) as (container, stream):
        return stream.frames or sum(packet.size > 0 for packet in container.demux(stream))


@contextmanager
def _opened(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    if not file.is_file():
        raise FileNotFoundError(f"there is no video file {file}; copy or download it again")
    try:
        with av.open(file) as container:
            stream = stream_of(container)
            # A damaged frame shall be an error, not a grey patch.
            stream.codec_context.options = {"err_detect": "explode"}
            yield container, stream
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ValueError(
            f"the video file {file} cannot be read ({error}); copy or download it again"
        ) from error


def _gather(
    numbered: Iterator[tuple[int, VideoFrame]],
    first: int,
    count: int,
    size: tuple[int, int],
    count_left: bool,
) -> Frames:
    times: list[float] = []
    images: list[NDArray[np.uint8]] = []
    left = 0
    for number, frame in numbered:
        if number < first:
            continue
        if len(images) == count:
            if not count_left:
                break
            left += 1
            continue
        image = upright(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False), frame)
        if image.shape[:2] != size:
            raise _size_error(image.shape[:2], size)
        times.append(-1.0 if frame.time is None else frame.time)
        images.append(image)
    rise = all(a < b for a, b in pairwise(times))
    since_first = np.array([time - times[0] for time in times]) if rise else None
    return Frames(since_first, tuple(images), left)


def _size_error(found: tuple[int, ...], size: tuple[int, int]) -> ValueError:
    return ValueError(f"its frames are of {found} pixels where {size} are declared")


def _by_time(
    container: InputContainer, stream: VideoStream, first: int
) -> Iterator[tuple[int, VideoFrame]]:
    """(number, frame) from a frame at or before `first` on, where the file has one."""
    if first <= 0:
        yield from _numbered(container, stream, before=-1)
        return
    rate, base = stream.average_rate, stream.time_base
    if not rate or not base:
        raise _TimesDisagreeError
    for margin in (*_MARGINS, first / rate):
        # Files are searched by decoding times, which with B-frames run ahead of those shown.
        target = max(0.0, float(first / rate - margin))
        container.seek(int(target / base) + (stream.start_time or 0), stream=stream)
        frames = _numbered(container, stream)
        start = next(frames, None)
        if start is not None and start[0] <= first:
            yield from chain([start], frames)
            return
    raise _TimesDisagreeError


def _numbered(
    container: InputContainer, stream: VideoStream, before: int | None = None
) -> Iterator[tuple[int, VideoFrame]]:
    rate, base, origin = stream.average_rate, stream.time_base, stream.start_time or 0
    last = before
    for frame in container.decode(stream):
        if frame.pts is None or not rate or not base:
            raise _TimesDisagreeError
        place = float((frame.pts - origin) * base * rate)
        number = round(place)
        if abs(place - number) > _OFF or (last is not None and number != last + 1):
            raise _TimesDisagreeError
        last = number
        yield number, frame
