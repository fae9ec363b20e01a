from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from selfflow_robotics.evaluation.video import writing as video
from selfflow_robotics.evaluation.video.writing import encode, side_by_side, write_video


def stripes(length: int, height: int = 16, width: int = 20) -> video.Frames:
    frames = np.zeros((length, height, width, 3), np.uint8)
    for i in range(length):
        frames[i] = 20 * i
    return frames


def test_mp4_plays_back_with_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", stripes(7), fps=3)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate or 0) == pytest.approx(3.0)
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 7
    for frame, expected in zip(shown, stripes(7), strict=True):
        assert np.abs(frame.astype(int) - expected).max() <= 6


def test_odd_sizes_gain_an_edge() -> None:
    with av.open(io.BytesIO(encode(stripes(2, 15, 17)).data)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (16, 18)


def test_without_the_encoder_an_animated_image_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(video, "h264_available", lambda: False)
    path = write_video(tmp_path / "a.mp4", stripes(5))
    assert path.name == "a.webp"
    assert Image.open(path).n_frames == 5


def test_columns_stand_side_by_side_and_the_shorter_one_rests() -> None:
    left, right = stripes(3), stripes(5)
    joined = side_by_side([("happened", left), ("imagined", right)], width=40)
    assert joined.shape == (5, 20 + 32, 40 + 4 + 40, 3)
    assert joined[4, 30, 10, 0] == 40 and joined[4, 30, 60, 0] == 80
    assert joined[0, :20, :40].max() > 200, "the label is drawn"


def test_bad_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        encode(np.zeros((0, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        encode(np.zeros((2, 8, 8, 3), np.float32))  # type: ignore[arg-type]
