"""Video files whose frames tell their numbers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path, frames: int = 40, fps: int = 10, size: tuple[int, int] = (96, 128)
) -> None:
    """Frame i is grey of level 5 i."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(frames):
            image = np.full((*size, 3), min(255, 5 * number), np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def numbers(images: np.ndarray) -> list[int]:
    return [round(float(image.mean()) / 5) for image in images]


def write_shard(path: Path, members: Mapping[str, bytes]) -> None:
    """A tar file as WebDataset's writers make it."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
