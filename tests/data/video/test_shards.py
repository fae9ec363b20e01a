"""WebDataset shards as episodes."""

from __future__ import annotations

import json
import pickle
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from videos import numbers, write_shard, write_video

from selfflow_robotics.data.video.source import UnreadableVideoError, VideoClips


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, video: bytes) -> Path:
    """Two shards with three videos: captions in a text, in JSON, and none."""
    folder = tmp_path_factory.mktemp("shards")
    about = json.dumps({"caption": "grey becomes white", "fps": 10}).encode()
    write_shard(
        folder / "videos-0.tar",
        {"000.mp4": video, "000.txt": b"a grey wall\n", "1/a.b.json": about, "1/a.mp4": video},
    )
    write_shard(folder / "videos-1.tar", {"000.mp4": video, "000.wav": b"sound"})
    return folder


def test_clips_are_those_of_the_files_and_have_captions(shards: Path, tmp_path: Path) -> None:
    source = VideoClips(shards, frames=8)
    write_video(tmp_path / "a.mp4")
    expected = VideoClips(tmp_path, frames=8)
    assert len(source) == 9 and len(expected) == 3
    for i in range(9):
        assert np.array_equal(source[i].images, expected[i % 3].images)
    assert numbers(source[1].images) == list(range(16, 32, 2))
    told = [set(source[i].instructions) for i in (0, 3, 6)]
    assert told == [{"a grey wall"}, {"grey becomes white"}, set()]
    assert len(source[2].instructions) == 4
    assert source[3].id == f"{shards}/videos-0.tar/1/a.mp4@0.00s"


@pytest.mark.parametrize("path", ["", "videos-*.tar", "videos-0.tar"])
def test_a_folder_a_glob_or_a_file(shards: Path, path: str) -> None:
    source = VideoClips(shards / path, frames=20)
    assert isinstance(source, VideoClips)
    assert len(source) == (2 if path == "videos-0.tar" else 3)


def test_object_storage_gives_the_same(shards: Path) -> None:
    memory = fsspec.filesystem("memory")
    for shard in shards.iterdir():
        memory.pipe(f"/bucket/{shard.name}", shard.read_bytes())
    there = VideoClips("memory://bucket/videos-*.tar", frames=8)
    here = VideoClips(shards, frames=8)
    assert len(there) == len(here)
    assert np.array_equal(there[4].images, here[4].images)
    assert there.identity == here.identity


def test_survives_pickling(shards: Path) -> None:
    source = VideoClips(shards, frames=8)
    again = pickle.loads(pickle.dumps(source))
    assert np.array_equal(again[4].images, source[4].images)


def test_broken_video_is_named_and_skipped_up_to_the_share(tmp_path: Path, video: bytes) -> None:
    members = {"a.mp4": video, "b.mp4": video[: len(video) // 2], "c.mp4": video}
    write_shard(tmp_path / "v.tar", members)
    source = VideoClips(tmp_path, max_broken=0.4)
    assert [one.path for one in source.broken] == [f"{tmp_path}/v.tar/b.mp4"]
    assert len(source) == 2
    with pytest.raises(ValueError, match=r"1 of 3 video files .* 0.05: .*v\.tar/b\.mp4"):
        VideoClips(tmp_path)


def test_video_that_is_damaged_later_is_set_aside(tmp_path: Path, video: bytes) -> None:
    write_shard(tmp_path / "v.tar", {"a.mp4": video, "b.mp4": video})
    source = VideoClips(tmp_path, max_broken=0.5, frames=32)
    whole = (tmp_path / "v.tar").read_bytes()
    (tmp_path / "v.tar").write_bytes(whole[:512] + bytes(len(video)) + whole[512 + len(video) :])
    with pytest.raises(UnreadableVideoError, match=r"v\.tar/a\.mp4 cannot be read"):
        source[0]
    assert source[1].id.startswith(f"{tmp_path}/v.tar/b.mp4")


@pytest.mark.parametrize("cut", ["truncated", "compressed", "other"])
def test_what_is_no_whole_tar_is_named(tmp_path: Path, video: bytes, cut: str) -> None:
    path = tmp_path / "v.tar"
    if cut == "compressed":
        (tmp_path / "a.mp4").write_bytes(video)
        with tarfile.open(path, "w:gz") as tar:
            tar.add(tmp_path / "a.mp4", "a.mp4")
    else:
        write_shard(path, {"a.mp4": video, "b.mp4": video})
        whole = path.read_bytes()
        path.write_bytes(whole[: len(video) + 2000] if cut == "truncated" else b"no tar" * 1000)
    with pytest.raises(ValueError, match=r"v\.tar is truncated, compressed or no tar file"):
        VideoClips(tmp_path)


def test_shards_without_videos_and_none_at_all(tmp_path: Path) -> None:
    write_shard(tmp_path / "v.tar", {"a.txt": b"words"})
    with pytest.raises(FileNotFoundError, match="holds no tar file with videos"):
        VideoClips(tmp_path)
    with pytest.raises(FileNotFoundError):
        VideoClips(tmp_path / "nothing.tar")
