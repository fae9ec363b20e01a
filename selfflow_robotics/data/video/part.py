"""The frames of a stretch of a video file, by their times."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

_MARGINS = (0.0, 1.0, 10.0)  # s before the start to seek to, until a frame before it comes


def frames_between(
    file: Path, start: float, end: float | None
) -> tuple[NDArray[np.float64], list[NDArray[np.uint8]]]:
    """Decode every frame shown from start until before end.

    Args:
        file: a video file; times are as it stores them.
        start: seconds.
        end: seconds; None for the end of the file.

    Returns:
        The frames' times (S,) in seconds and the frames (height, width, 3) in their order.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read; the message names it.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no video file {file}; copy or download it again")
    times: list[float] = []
    images: list[NDArray[np.uint8]] = []
    try:
        with av.open(file) as container:
            for time, frame in _from(container, start):
                if end is not None and time >= end:
                    break
                if time >= start:
                    times.append(time)
                    images.append(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ValueError(
            f"the video file {file} cannot be read ({error}); copy or download it again"
        ) from error
    return np.asarray(times, np.float64), images


def _from(container: InputContainer, start: float) -> Iterator[tuple[float, VideoFrame]]:
    """(seconds, frame) from a frame at or before start on, where the file has one."""
    if not container.streams.video:
        raise ValueError("it has no video stream")
    stream = container.streams.video[0]
    # A damaged frame shall be an error, not a grey patch.
    stream.codec_context.options = {"err_detect": "explode"}
    if start <= 0:
        yield from _decoded(container, stream)
        return
    for margin in (*_MARGINS, start):
        # Files are searched by decoding times, which with B-frames run ahead of those shown.
        target = max(0.0, start - margin)
        container.seek(int(target / (stream.time_base or 1)), stream=stream)
        frames = _decoded(container, stream)
        first = next(frames, None)
        if first is not None and (first[0] <= start or target == 0):
            yield from chain([first], frames)
            return


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    for frame in container.decode(stream):
        if frame.pts is not None and frame.time_base is not None:
            yield float(frame.pts * frame.time_base), frame
