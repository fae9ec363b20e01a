"""Containers that say odd things of whole videos: every frame is read, once, in its place."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from selfflow_robotics.data.video.decoding import readable_seconds
from selfflow_robotics.data.video.source import VideoClips
from selfflow_robotics.images.eight_bit import MOST_PIXELS

SIZE = (64, 80)
RATE = 10
COUNT = 20


def write(
    path: Path,
    codec: str,
    *,
    late: float = 0.0,
    sound: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """COUNT frames, frame i grey of level 10 + 10 i; sound of 6 s where there is some."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 2_000_000
        heard = None if sound is None else container.add_stream(sound, rate=48000, layout="mono")
        for number in range(COUNT):
            image = np.full((*SIZE, 3), 10 + 10 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number + round(late * RATE), Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for number in range(300 if heard is not None else 0):
            silence = av.AudioFrame.from_ndarray(
                np.zeros((1, 960), np.int16), format="s16", layout="mono"
            )
            silence.sample_rate, silence.pts = 48000, number * 960
            silence.time_base = Fraction(1, 48000)
            assert heard is not None
            container.mux(heard.encode(silence))
        if heard is not None:
            container.mux(heard.encode(None))
    return path


def shown(path: Path, frames: int = 64) -> list[int]:
    """The numbers of the frames that all clips of a file show at its own rate."""
    source = VideoClips(path, image_size=SIZE, frames=frames, rate_hz=RATE)
    return [
        round((float(image.mean()) - 10) / 10)
        for index in range(len(source))
        for image in source[index].images
    ]


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mp4"])
@pytest.mark.parametrize(
    ("codec", "options"), [("libx264", {"bf": "3", "crf": "5"}), ("mpeg4", {"bf": "2"})]
)
def test_frames_with_b_frames(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = write(tmp_path / name, codec, options=options)
    assert shown(path) == list(range(COUNT))
    assert shown(path, frames=7) == list(range(COUNT))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.mp4", "libx264")],
)
def test_picture_that_starts_late(tmp_path: Path, name: str, codec: str) -> None:
    assert shown(write(tmp_path / name, codec, late=5.0)) == list(range(COUNT))


@pytest.mark.parametrize(
    ("name", "codec", "sound"), [("a.mkv", "libx264", "flac"), ("a.webm", "libvpx", "libopus")]
)
def test_sound_that_outlasts_the_picture(tmp_path: Path, name: str, codec: str, sound: str) -> None:
    assert shown(write(tmp_path / name, codec, sound=sound)) == list(range(COUNT))


@pytest.mark.parametrize("sound", [None, "flac"])
def test_truncated_file_is_found_with_and_without_sound(tmp_path: Path, sound: str | None) -> None:
    path = write(tmp_path / "a.mkv", "mpeg4", sound=sound)
    # Sound is written behind the picture here, so that the cut lies in the sound or in the picture.
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="truncated"):
        readable_seconds(lambda: str(path))


def test_frames_of_a_size_nobody_films_are_not_allocated(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    assert MOST_PIXELS < 9000 * 9000
    Image.new("L", (8, 8)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[:6] + (9000).to_bytes(2, "little") * 2 + content[10:])
    with pytest.raises(ValueError, match=r"a\.gif .*over 35 million pixels"):
        VideoClips(path)
