"""Video files as episodes."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import pytest
from videos import numbers, write_video

from selfflow_robotics.data.video.source import UnreadableVideoError, VideoClips


def test_clips_hold_the_frames_of_their_times(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    source = VideoClips(tmp_path, image_size=(64, 80), frames=8, rate_hz=5.0)
    assert len(source) == 3  # 4 s at 5 Hz: 20 frames
    assert [len(source[i]) for i in range(3)] == [8, 8, 4]
    assert numbers(source[0].images) == list(range(0, 16, 2))
    assert numbers(source[1].images) == list(range(16, 32, 2))
    assert numbers(source[2].images) == list(range(32, 40, 2))


def test_clip_is_an_episode_without_actions(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    episode = VideoClips(tmp_path, image_size=(64, 80), frames=8)[1]
    assert episode.images.shape == (8, 64, 80, 3)
    assert episode.images.dtype == np.uint8
    assert (episode.actions, episode.states, episode.instructions) == (None, None, ())
    assert episode.source == "video"
    assert "a.mp4" in episode.id


def test_file_with_fewer_frames_repeats_them(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=20)
    source = VideoClips(tmp_path, frames=8, rate_hz=20.0)
    assert numbers(source[0].images) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_picture_is_cropped_from_the_middle(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 192, "yuv420p"
        image = np.zeros((64, 192, 3), np.uint8)
        image[:, 64:128] = 255
        for _ in range(3):
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    images = VideoClips(tmp_path, image_size=(32, 32), frames=1)[0].images
    assert images.min() > 200


def test_glob_and_single_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=10)
    write_video(tmp_path / "b.mp4", frames=10)
    assert len(VideoClips(tmp_path / "*.mp4")) == 2
    assert len(VideoClips(tmp_path / "b.mp4")) == 1


def test_survives_pickling(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    source = VideoClips(tmp_path)
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(source[0].images, again[0].images)


def test_broken_file_is_named_and_skipped(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    source = VideoClips(tmp_path, max_broken=0.5)
    assert len(source) == 1
    assert [Path(video.path).name for video in source.broken] == ["bad.mp4"]


def test_too_many_broken_files_stop(tmp_path: Path) -> None:
    write_video(tmp_path / "good.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"1 of 2 video files .* 0.05: .*bad.mp4"):
        VideoClips(tmp_path)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_truncated_file_is_found(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_video(path, frames=100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="1 of 1 video files"):
        VideoClips(tmp_path)


def test_file_that_vanishes_is_named_and_set_aside(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4")
    write_video(tmp_path / "b.mp4")
    source = VideoClips(tmp_path, max_broken=0.5)
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(UnreadableVideoError, match=r"a\.mp4 cannot be read .* set aside"):
        source[0]
    assert "b.mp4" in source[len(source) - 1].id
    assert [Path(video.path).name for video in source.broken] == ["a.mp4"]
    (tmp_path / "b.mp4").unlink()
    with pytest.raises(ValueError, match="2 of 2 video files"):
        source[len(source) - 1]


def test_sound_without_picture_is_broken(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        for packet in stream.encode(frame):
            container.mux(packet)
    with pytest.raises(ValueError, match="no video stream"):
        VideoClips(tmp_path)


def test_empty_folder_and_wrong_values(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no video file"):
        VideoClips(tmp_path)
    with pytest.raises(ValueError, match="at least 1"):
        VideoClips(tmp_path, frames=0)


def test_index_out_of_range(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=10)
    with pytest.raises(IndexError):
        VideoClips(tmp_path)[1]


def test_text_beside_a_video_is_its_caption(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name)
    without = VideoClips(tmp_path, frames=8)
    (tmp_path / "a.txt").write_text("a wall turns white\n")
    source = VideoClips(tmp_path, frames=8)
    told = [source[i].instructions for i in (2, 3)]
    assert told == [("a wall turns white",) * 4, ()]
    # What was encoded without it, or with another one, is not taken for this.
    (tmp_path / "a.txt").write_text("a wall turns grey\n")
    other = VideoClips(tmp_path, frames=8)
    digests = {one.identity["files"] for one in (without, source, other)}
    assert len(digests) == 3
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"b\.txt is no text in UTF-8 .* caption of b\.mp4"):
        VideoClips(tmp_path, frames=8)
