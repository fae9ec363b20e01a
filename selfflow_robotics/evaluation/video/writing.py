"""Small labelled videos, as files and as data a web page can hold."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from selfflow_robotics.storage.whole_file import write_whole

Frames = NDArray[np.uint8]  # (T, height, width, 3)
_GAP, _LABEL = 4, 20  # pixels between columns, and above each
_PAPER, _INK = (24, 26, 30), (235, 237, 240)


@dataclass(frozen=True)
class EncodedVideo:
    """A playable video."""

    data: bytes
    mime: str  # "video/mp4", or "image/webp" where no H.264 encoder is there

    @property
    def suffix(self) -> str:
        """File name ending."""
        return {"video/mp4": ".mp4", "image/webp": ".webp"}[self.mime]


def encode(frames: Frames, fps: float = 3.0, quality: int = 22) -> EncodedVideo:
    """Encode as H.264 in MP4; as an animated WebP where the encoder is missing.

    Args:
        frames: (T, height, width, 3) uint8; an odd height or width gains a row or column.
        fps: frames shown a second.
        quality: H.264's constant rate factor, 0 (best) to 51.

    Raises:
        ValueError: no frame, or not RGB frames of uint8.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(
            f"a video of shape {frames.shape} and type {frames.dtype} was given; "
            "give (T, height, width, 3) uint8 with at least one frame"
        )
    if not h264_available():
        return EncodedVideo(_webp(frames, fps), "image/webp")
    even = np.pad(
        frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge"
    )
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height = even.shape[2], even.shape[1]
        stream.pix_fmt = "yuv420p"  # what browsers play
        stream.options = {"crf": str(quality), "preset": "veryfast"}
        for frame in even:
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())
    return EncodedVideo(target.getvalue(), "video/mp4")


def write_video(path: Path, frames: Frames, fps: float = 3.0) -> Path:
    """Write a video atomically.

    Returns:
        The file written: `path`, with the ending of what could be encoded.
    """
    video = encode(frames, fps)
    path = path.with_suffix(video.suffix)
    write_whole(path, video.data)
    return path


def side_by_side(columns: Sequence[tuple[str, Frames]], width: int = 240) -> Frames:
    """Videos beside each other, each under its label; a shorter one rests on its last frame.

    Args:
        columns: label and (T, height, width, 3) uint8, all of one height-to-width ratio.
        width: of one column in pixels; small frames are enlarged without smoothing.

    Returns:
        (max T, height, width, 3) uint8.
    """
    if not columns:
        raise ValueError("no videos to put side by side; give at least one column")
    length = max(len(frames) for _, frames in columns)
    heights = [round(frames.shape[1] * width / frames.shape[2]) for _, frames in columns]
    whole = (length, _LABEL + max(heights), len(columns) * (width + _GAP) - _GAP, 3)
    canvas = np.full(whole, _PAPER, np.uint8)
    for number, (label, frames) in enumerate(columns):
        enlarging = width >= frames.shape[2]
        method = Image.Resampling.NEAREST if enlarging else Image.Resampling.BOX
        size = (width, heights[number])
        shown = [np.asarray(Image.fromarray(frame).resize(size, method)) for frame in frames]
        column = canvas[:, :, number * (width + _GAP) :][:, :, :width]
        column[:, :_LABEL] = _label(label, width)
        column[:, _LABEL : _LABEL + size[1]] = np.stack(shown + shown[-1:] * (length - len(shown)))
    return canvas


def h264_available() -> bool:
    """Whether the FFmpeg that PyAV brought can encode H.264."""
    return "libx264" in av.codecs_available


def _label(text: str, width: int) -> Frames:
    image = Image.new("RGB", (width, _LABEL), _PAPER)
    font = ImageFont.load_default(size=13)
    while len(text) > 1 and font.getlength(text) > width - 8:
        text = text[:-2] + "…"
    ImageDraw.Draw(image).text((5, 2), text, fill=_INK, font=font)
    return np.asarray(image)


def _webp(frames: Frames, fps: float) -> bytes:
    images = [Image.fromarray(frame) for frame in frames]
    target = io.BytesIO()
    images[0].save(
        target,
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=80,
    )
    return target.getvalue()
