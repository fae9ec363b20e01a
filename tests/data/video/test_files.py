"""What a path names: folders with links, lists and braces, files of macOS, tars beside videos."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest
from videos import write_shard, write_video

from selfflow_robotics.data.video.files import find_files
from selfflow_robotics.data.video.source import VideoClips

APPLE_DOUBLE = bytes.fromhex("0005160700020000") + b"Mac OS X        " + bytes(200)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    write_video(path, frames=10, size=(32, 48))
    return path.read_bytes()


def put(folder: Path, video: bytes, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(video)


def names(folder: Path, path: str) -> list[str]:
    loose, tars = find_files(os.path.join(folder, path) if path else str(folder))
    return [os.path.relpath(file, folder) for file in (*loose, *tars)]


def test_braces_lists_and_names_as_they_stand(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "v-000.tar", "v-001.tar", "v-010.tar", "a.mp4", "b.mkv", "talk [a1].mp4")
    put(tmp_path, video, "g [x]/plain.mp4", "v-{000..001}/c.mp4")
    assert names(tmp_path, "v-{000..001}.tar") == ["v-000.tar", "v-001.tar"]
    assert names(tmp_path, "{a.mp4,b.mkv}") == ["a.mp4", "b.mkv"]
    both = f"v-000.tar::{tmp_path}/v-010.tar"
    assert names(tmp_path, both) == ["v-000.tar", "v-010.tar"]
    assert names(tmp_path, "talk [a1].mp4") == ["talk [a1].mp4"]
    assert names(tmp_path, "g [x]") == ["g [x]/plain.mp4"]
    assert names(tmp_path, "v-{000..001}") == ["v-{000..001}/c.mp4"]
    with pytest.raises(FileNotFoundError, match=r"v-002\.tar holds no video"):
        names(tmp_path, "v-{000..002}.tar")


def test_linked_folders_are_searched_once(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "disk/b.MP4", "here/a.mp4")
    os.symlink(tmp_path / "disk", tmp_path / "here/more")
    os.symlink(tmp_path / "here", tmp_path / "here/round")
    assert names(tmp_path, "here") == ["here/a.mp4", "here/more/b.MP4"]


def test_link_to_nothing_is_set_aside_by_name(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "a.mp4")
    os.symlink(tmp_path / "gone.mp4", tmp_path / "b.mp4")
    source = VideoClips(tmp_path, max_broken=0.5)
    assert [str(one).split(":")[0] for one in source.broken] == [f"left out {tmp_path}/b.mp4"]


def test_videos_beside_tars_and_tars_below(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "a.mp4", "x/b.mp4")
    (tmp_path / "a.txt").write_text("a wall")
    write_shard(tmp_path / "x/one.tar", {"c.mp4": video, "c.txt": b"a floor"})
    source = VideoClips(tmp_path, (32, 48), frames=8)
    told = {source[i].id.split("@")[0]: source[i].instructions[:1] for i in range(len(source))}
    assert told == {
        f"{tmp_path}/a.mp4": ("a wall",),
        f"{tmp_path}/x/b.mp4": (),
        f"{tmp_path}/x/one.tar/c.mp4": ("a floor",),
    }


def test_files_that_macos_puts_beside_others(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "f/a.mp4", "f/._real.mp4")
    put(tmp_path, APPLE_DOUBLE, "f/._a.mp4", "f/._a.txt")
    assert names(tmp_path, "f") == ["f/._real.mp4", "f/a.mp4"]
    members = {"a.mp4": video, "._a.mp4": APPLE_DOUBLE, "._a.txt": APPLE_DOUBLE, "a.txt": b"wall"}
    write_shard(tmp_path / "one.tar", members)
    source = VideoClips(tmp_path / "one.tar", (32, 48))
    assert [source[i].instructions[0] for i in range(len(source))] == ["wall"]


def test_captions_of_names_with_decimal_times(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "one.tar"
    first, second = "talk_12.5_17.0", "talk_12.9_20.1"
    write_shard(
        path,
        {f"{first}.mp4": video, f"{first}.txt": b"one", f"{second}.mp4": video}
        | {f"{second}.json": json.dumps({"caption": "two"}).encode()},
    )
    source = VideoClips(path, (32, 48))
    assert [source[i].instructions[0] for i in range(2)] == ["one", "two"]
    write_shard(path, {f"{first}.mp4": video, f"{second}.mp4": video, "talk_12.txt": b"which"})
    with pytest.raises(ValueError, match=rf"{first}\.mp4 and {second}\.mp4 in .*one\.tar"):
        VideoClips(path)


def test_damage_in_the_middle_of_a_tar_does_not_end_it(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "one.tar"
    write_shard(path, dict.fromkeys(("a.mp4", "b.mp4", "c.mp4"), video))
    whole = path.read_bytes()
    header = whole.index(b"b.mp4")
    for damage in (b"x", bytes(512)):
        path.write_bytes(whole[:header] + damage + whole[header + len(damage) :])
        with pytest.raises(ValueError, match=r"one\.tar is damaged behind a\.mp4"):
            VideoClips(path)
    path.write_bytes(whole[:header])
    with pytest.raises(ValueError, match=r"one\.tar is truncated behind a\.mp4"):
        VideoClips(path)


def test_members_that_are_no_files(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "one.tar"

    def with_member(kind: bytes, target: str = "") -> None:
        write_shard(path, {"a.mp4": video})
        with tarfile.open(path, "a") as tar:
            member = tarfile.TarInfo("a.txt")
            member.type, member.linkname = kind, target
            tar.addfile(member)

    with_member(tarfile.DIRTYPE)
    assert len(VideoClips(path)) == 1
    with_member(tarfile.SYMTYPE, "nowhere.txt")
    with pytest.raises(ValueError, match=r"a\.txt in .*one\.tar is a link to nowhere\.txt"):
        VideoClips(path)
    with_member(tarfile.FIFOTYPE)
    with pytest.raises(ValueError, match=r"a\.txt in .*one\.tar is no ordinary file"):
        VideoClips(path)
    write_shard(path, {"a.mp4": video, "a.txt": b"na\xefve"})
    with pytest.raises(ValueError, match=r"a\.txt in .*one\.tar is no text in UTF-8"):
        VideoClips(path)


def test_links_inside_a_tar_are_what_they_lead_to(tmp_path: Path, video: bytes) -> None:
    path = tmp_path / "one.tar"
    write_shard(path, {"a.mp4": video, "words.txt": b"a wall"})
    with tarfile.open(path, "a") as tar:
        for name, target, kind in (
            ("b.mp4", "a.mp4", tarfile.LNKTYPE),
            ("b.txt", "words.txt", tarfile.SYMTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    source = VideoClips(path, (32, 48))
    assert [source[i].instructions[:1] for i in range(len(source))] == [(), ("a wall",)]
    assert (source[0].images == source[1].images).all()


def test_compressed_tars_are_said_not_skipped(tmp_path: Path, video: bytes) -> None:
    put(tmp_path, video, "a.mp4", "more.tar.gz")
    with pytest.raises(ValueError, match=r"more\.tar\.gz is a compressed tar file"):
        VideoClips(tmp_path)
