"""A goal's picture: its pixels as anybody sees them, or a sentence with its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfflow_robotics.images.goal_picture import read_goal_picture

RED = np.full((6, 9, 3), (200, 10, 20), np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "L", "1", "LA"])
def test_kinds_of_colours(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(RED).convert(mode).save(path)
    found = read_goal_picture(path)
    assert found.shape == RED.shape and found.dtype == np.uint8
    if mode in ("RGB", "RGBA", "P", "CMYK"):
        assert np.abs(found.mean(axis=(0, 1)) - RED[0, 0]).max() <= 20, "nearest of a palette"


def test_a_photo_is_turned_as_it_asks(tmp_path: Path) -> None:
    image = Image.fromarray(RED)
    exif = image.getexif()
    exif[0x0112] = 6  # a quarter turn
    image.save(tmp_path / "a.jpg", exif=exif)
    assert read_goal_picture(tmp_path / "a.jpg").shape == (9, 6, 3)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    pixels = np.dstack([RED, np.zeros((6, 9), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert not read_goal_picture(tmp_path / "a.png").any()


def test_what_is_no_picture_of_eight_bits_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    for mode in ("I;16", "F"):
        file = path if mode != "F" else tmp_path / "a.tif"
        Image.fromarray(np.ones((4, 4), np.uint16 if mode != "F" else np.float32)).save(file)
        with pytest.raises(ValueError, match=f"goal={file} .*eight bits"):
            read_goal_picture(file)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:2000])
    with pytest.raises(ValueError, match=f"goal={path} is damaged"):
        read_goal_picture(path)
    path.write_bytes(whole[:33] + b"\0\0\0\0JUNK" + whole[33:])
    with pytest.raises(ValueError, match=f"goal={path} is"):
        read_goal_picture(path)
    for content in (b"", b"PNG", b"\x89PNG\r\n\x1a\n", b"GIF89a"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"goal={path} is no picture"):
            read_goal_picture(path)
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=f"goal={path} is too large"):
        read_goal_picture(path)
    with pytest.raises(IsADirectoryError):
        read_goal_picture(tmp_path)
