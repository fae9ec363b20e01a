"""Frames are those of the episode's rows, whatever the times of containers and lists say."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from folders import (
    IMAGE,
    RATE,
    SIZE,
    change_info,
    change_rows,
    grey,
    levels,
    reads,
    write_v2,
    write_v3,
    write_video,
)

from selfflow_robotics.data.lerobot.dataset_check import check_lerobot
from selfflow_robotics.data.lerobot.mappings import FRACTAL_MIRROR
from selfflow_robotics.data.lerobot.source import open_lerobot

MAPPING = FRACTAL_MIRROR.name
WRITERS = {"v2.1": write_v2, "v3.0": write_v3}
PLACES = "meta/episodes/chunk-000/file-000.parquet"
VIDEO = f"videos/{IMAGE}/chunk-000/file-000.mp4"

Rows = list[dict[str, Any]]


def move(path: Path, frames: dict[int, float]) -> None:
    """Let episodes begin so many frames later, as `meta/episodes` has it."""

    def add(rows: Rows) -> None:
        for row in rows:
            for edge in ("from", "to"):
                key = f"videos/{IMAGE}/{edge}_timestamp"
                row[key] += frames.get(row["episode_index"], 0) / RATE

    change_rows(path / PLACES, add)


class TestTimesOfVideo:
    @pytest.mark.parametrize("drift", [1e-4, 0.3, 0.45, 0.55, 0.95, 1.0, 1.3, -0.55, -0.95])
    def test_drifted_off_the_frames(self, tmp_path: Path, drift: float) -> None:
        """LeRobot adds up durations; episodes that fill a file are found by their lengths."""
        path = write_v3(tmp_path / "set")
        move(path, {1: drift, 3: drift})
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            reads(source, number, number)

    @pytest.mark.parametrize("frames_more", [1, 3])
    def test_drifted_where_nothing_tells_the_frames(self, tmp_path: Path, frames_more: int) -> None:
        path = write_v3(tmp_path / "set")
        write_video(path / VIDEO, grey(0) + grey(1) + [200] * frames_more)
        reads(open_lerobot(path, MAPPING), 1, 1)
        move(path, {1: 0.6})
        with pytest.raises(ValueError, match=r"episode train/1 .*file-000.mp4: .*\+0\.60 frames"):
            open_lerobot(path, MAPPING)[1]

    def test_frames_of_removed_episodes_were_left(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")
        write_video(path / VIDEO, [*grey(0), 240, 250, *grey(1)])
        move(path, {1: 2})
        source = open_lerobot(path, MAPPING)
        reads(source, 0, 0)
        reads(source, 1, 1)

    def test_two_episodes_of_the_same_frames(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")
        write_video(path / VIDEO, grey(0) + grey(1) + [200] * 3)
        move(path, {1: -4})
        (found,) = check_lerobot(path, MAPPING)
        assert found.episodes == 2 and len(found.faults) == 2
        assert all("at frame 1, where another still runs" in fault for fault in found.faults)

    def test_longer_than_its_rows(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")

        def stretch(rows: Rows) -> None:
            rows[1][f"videos/{IMAGE}/to_timestamp"] += 2 / RATE

        change_rows(path / PLACES, stretch)
        with pytest.raises(ValueError, match=r"train/1 .*takes 11.0 frames, but it has 9 rows"):
            open_lerobot(path, MAPPING)[1]

    @pytest.mark.parametrize("container", ["mp4", "mkv"])
    @pytest.mark.parametrize("version", WRITERS)
    def test_video_that_starts_late(self, tmp_path: Path, version: str, container: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        for file in list(path.rglob("*.mp4")):
            shift(file, file.with_suffix(f".{container}"), seconds=5)
        template = json.loads((path / "meta/info.json").read_text())["video_path"]
        change_info(path, video_path=template.replace("mp4", container))
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            reads(source, number, number)

    @pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
    def test_container_whose_times_jump_back(self, tmp_path: Path, codec: str) -> None:
        """AVI has no times of frames, and those that FFmpeg makes up for B-frames repeat."""
        path = write_v2(tmp_path / "set")
        for number in range(4):
            file = path / f"videos/chunk-{number // 2:03d}/{IMAGE}/episode_{number:06d}.avi"
            with av.open(file, "w") as target:
                stream = target.add_stream(codec, rate=RATE, options={"bf": "2", "crf": "5"})
                stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
                stream.bit_rate = 4_000_000
                for level in grey(number):
                    image = np.full((*SIZE, 3), level, np.uint8)
                    target.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
                target.mux(stream.encode())
        template = json.loads((path / "meta/info.json").read_text())["video_path"]
        change_info(path, video_path=template.replace("mp4", "avi"))
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            np.testing.assert_allclose(levels(source, number), grey(number), atol=6)

    @pytest.mark.parametrize("degrees", [90, 180])
    def test_video_that_is_to_be_turned(self, tmp_path: Path, degrees: int) -> None:
        path = write_v2(tmp_path / "set")
        video = path / f"videos/chunk-000/{IMAGE}/episode_000000.mp4"
        content = bytearray(video.read_bytes())
        one, at = 0x10000, content.find(b"tkhd") + 4 + 40
        turn = {90: (0, one, 0, -one, 0), 180: (-one, 0, 0, 0, -one)}[degrees]
        struct.pack_into(">5i", content, at, *turn)
        video.write_bytes(content)
        if degrees == 180:
            reads(open_lerobot(path, MAPPING), 0, 0)
            return
        with pytest.raises(ValueError, match=r"train/0 .*\(48, 32\) pixels where \(32, 48\)"):
            open_lerobot(path, MAPPING)[0]


def shift(source: Path, target: Path, seconds: int) -> None:
    """The same frames, the first of them so much later; the file takes the other's place."""
    made = source.with_name("shifted" + target.suffix)
    with av.open(source) as one, av.open(made, "w") as other:
        stream = other.add_stream_from_template(one.streams.video[0])
        for packet in one.demux(video=0):
            if packet.dts is not None and packet.pts is not None and packet.time_base:
                late = int(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + late, packet.dts + late
                packet.stream = stream
                other.mux(packet)
    source.unlink()
    made.rename(target)


def test_video_of_a_codec_that_nobody_knows(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set")
    content = (path / VIDEO).read_bytes()
    at = content.rindex(b"avc1")
    (path / VIDEO).write_bytes(content[:at] + b"zzz1" + content[at + 4 :])
    with pytest.raises(ValueError, match=r"train/1 of .*file-000.mp4 .*its codec is unknown"):
        open_lerobot(path, MAPPING)[1]
