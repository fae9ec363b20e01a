"""Video that is to be turned comes out as a player shows it."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from selfflow_robotics.data.video.upright import upright

_MATRICES = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}  # of the box "tkhd"


def turn_clockwise(file: Path, degrees: int) -> None:
    """Note in an mp4 how it is to be turned."""
    content = bytearray(file.read_bytes())
    matrix = content.find(b"tkhd") + 4 + 40
    a, b, c, d = (0x10000 * entry for entry in _MATRICES[degrees])
    struct.pack_into(">9i", content, matrix, a, b, 0, c, d, 0, 0, 0, 0x40000000)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("degrees", "corner", "shape"),
    [(90, (0, -1), (48, 32)), (180, (-1, -1), (32, 48)), (270, (-1, 0), (48, 32))],
)
def test_the_top_left_corner_goes_where_the_file_says(
    tmp_path: Path, degrees: int, corner: tuple[int, int], shape: tuple[int, int]
) -> None:
    file, image = tmp_path / "a.mp4", np.full((32, 48, 3), 20, np.uint8)
    image[:16, :24] = 220
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    turn_clockwise(file, degrees)
    with av.open(file) as container:
        frame = next(container.decode(video=0))
    turned = upright(frame.to_ndarray(format="rgb24"), frame)
    assert turned.shape == (*shape, 3)
    bright = {c for c in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if turned[c].mean() > 120}
    assert bright == {corner}
