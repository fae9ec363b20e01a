"""Frames of a video file by number and by time, in the colours that were filmed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from selfflow_robotics.data.video.part import count_frames, read_frames

SIZE = (32, 48)
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220), (230, 230, 230))


def write(file: Path, rate: int = 10) -> Path:
    """One frame of each colour."""
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "3", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        stream.codec_context.colorspace = Colorspace.ITU709
        stream.codec_context.color_range = ColorRange.MPEG
        for number, colour in enumerate(COLOURS):
            image = np.full((*SIZE, 3), colour, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
            )
            frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


@pytest.mark.parametrize("first", range(4))
def test_frames_of_bt709_by_number(tmp_path: Path, first: int) -> None:
    file = write(tmp_path / "a.mp4")
    found = read_frames(file, first, 2, SIZE)
    assert count_frames(file) == 4 and len(found.images) == min(2, 4 - first)
    for image, colour in zip(found.images, COLOURS[first:], strict=False):
        assert np.abs(image[16, 24].astype(int) - colour).max() <= 6
    assert found.times is not None
    np.testing.assert_allclose(found.times, [0.0, 0.1][: len(found.images)], atol=1e-6)


def test_frames_of_another_size(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a.mp4 .*\(32, 48\) pixels where \(64, 48\)"):
        read_frames(write(tmp_path / "a.mp4"), 0, 1, (64, 48))
