"""One file of rows, one of frames and one about their episodes: a part of a LeRobot data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from av.video.frame import PictureType
from numpy.typing import NDArray

from selfflow_robotics.data.lerobot.mappings import EXPORTED_IMAGE
from selfflow_robotics.data.lerobot.meta import SUCCESS
from selfflow_robotics.data.lerobot.statistics import Statistics

FILES_PER_CHUNK = 1000
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = "videos/{video_key}/" + f"{_FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"

# Every second frame stands for itself, so that any is found fast; LeRobot does the same. At this
# rate factor an RT-1 frame keeps 40.5 dB, of the 42.7 that its halved chroma allows.
_OPTIONS = {"crf": "18", "g": "2", "bf": "0", "forced-idr": "1"}


@dataclass(frozen=True)
class Limits:
    """Sizes in MB at which a new part begins."""

    data_mb: int = 100
    video_mb: int = 200


class Part:
    """Takes episodes until it is full, with images of one (height, width).

    Raises:
        RuntimeError: no H.264 encoder is there.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        image_size: tuple[int, int],
        rate_hz: float,
        limits: Limits,
    ) -> None:
        chunk, file = divmod(number, FILES_PER_CHUNK)
        self._place = {"chunk_index": chunk, "file_index": file}
        names = (DATA_PATH, VIDEO_PATH, EPISODES_PATH)
        self._rows_file, video_file, self._episodes_file = (
            folder / name.format(video_key=EXPORTED_IMAGE, **self._place) for name in names
        )
        for path in (self._rows_file, video_file, self._episodes_file):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._limits = limits
        self._video = _Video(video_file, image_size, rate_hz)
        self._rows: pq.ParquetWriter | None = None
        self._episodes: list[dict[str, Any]] = []

    @property
    def full(self) -> bool:
        """Whether a limit is reached."""
        rows = self._rows_file.stat().st_size if self._rows_file.exists() else 0
        return (
            rows >= self._limits.data_mb * 2**20
            or self._video.num_bytes >= self._limits.video_mb * 2**20
        )

    def add(
        self,
        rows: pa.Table,
        images: NDArray[np.uint8],
        episode: Mapping[str, Any],
        statistics: Mapping[str, Statistics],
    ) -> None:
        """Append an episode.

        Args:
            rows: its steps.
            images: (S, height, width, 3).
            episode: its row of `meta/episodes`, without places and statistics.
        """
        if self._rows is None:
            self._rows = pq.ParquetWriter(self._rows_file, rows.schema, write_page_checksum=True)
        self._rows.write_table(rows)
        start, end = self._video.add(images)
        self._episodes.append(
            {
                **episode,
                **self._placed("data"),
                **self._placed(f"videos/{EXPORTED_IMAGE}"),
                f"videos/{EXPORTED_IMAGE}/from_timestamp": start,
                f"videos/{EXPORTED_IMAGE}/to_timestamp": end,
                **self._placed("meta/episodes"),
                **{
                    f"stats/{key}/{name}": values.tolist()
                    for key, found in statistics.items()
                    for name, values in found.items()
                },
            }
        )

    def close(self) -> None:
        """Finish the files."""
        self._video.finish()
        if self._rows is not None:
            self._rows.close()
        table = pa.Table.from_pylist(self._episodes)
        place = table.schema.get_field_index(SUCCESS)  # which may be unknown of all of them
        table = table.cast(table.schema.set(place, pa.field(SUCCESS, pa.bool_())))
        pq.write_table(table, self._episodes_file, write_page_checksum=True)

    def abandon(self) -> None:
        """Let go of the files, unfinished."""
        self._video.abandon()
        if self._rows is not None:
            self._rows.close()

    def _placed(self, prefix: str) -> dict[str, int]:
        return {f"{prefix}/{key}": number for key, number in self._place.items()}


class _Video:
    def __init__(self, file: Path, image_size: tuple[int, int], rate_hz: float) -> None:
        rate = Fraction(rate_hz).limit_denominator(1000)
        self._rate = rate
        self._container = av.open(file, "w", options={"movflags": "+faststart"})
        try:
            self._stream = self._container.add_stream("libx264", rate=rate, options=dict(_OPTIONS))
        except ValueError as error:  # av.codec.codec.UnknownCodecError is one
            raise RuntimeError(
                "the FFmpeg that PyAV brought has no encoder libx264; install PyAV from PyPI"
            ) from error
        self._stream.height, self._stream.width = image_size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = 1 / rate
        self._frames = self.num_bytes = 0

    def add(self, images: NDArray[np.uint8]) -> tuple[float, float]:
        """Append frames; the times in seconds at which the first begins and the last ends."""
        first = self._frames
        for image in images:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = self._frames, 1 / self._rate
            if self._frames == first:
                frame.pict_type = PictureType.I
            self._mux(frame)
            self._frames += 1
        return float(first / self._rate), float(self._frames / self._rate)

    def finish(self) -> None:
        self._mux(None)
        self._container.close()

    def abandon(self) -> None:
        self._container.close()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.num_bytes += packet.size
            self._container.mux(packet)
