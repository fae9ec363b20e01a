"""What is exported as LeRobot v3.0 reads back as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image
from rt1_material import rt1_episode, write_records

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.lerobot.export import LeRobotExport
from selfflow_robotics.data.lerobot.mappings import EXPORTED_IMAGE
from selfflow_robotics.data.lerobot.part import DATA_PATH, EPISODES_PATH, VIDEO_PATH, Limits
from selfflow_robotics.data.rt1.writer import Rt1Writer
from selfflow_robotics.storage.notice import Notice

KEY = "observation.images.image"
GIF = (
    Path(__file__).parents[4] / "shared/fixtures/rt1_episode/rt1_pick_apple_from_white_bowl_25f.gif"
)


def smooth(steps: int, seed: int, size: tuple[int, int] = (64, 80)) -> NDArray[np.uint8]:
    """Waves of colour that move, (steps, *size, 3)."""
    row, column = np.mgrid[: size[0], : size[1]]
    phase = column / 30 + row / 25 + seed
    waves = [[127 + 100 * np.sin(phase + 0.5 * i + c) for c in range(3)] for i in range(steps)]
    return np.moveaxis(np.array(waves), 1, -1).astype(np.uint8)


def episode(seed: int, steps: int = 6, **change: Any) -> Episode:
    rng = np.random.default_rng(seed)
    made = Episode(
        images=smooth(steps, seed),
        actions=rng.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32),
        states=rng.standard_normal((steps, 8)).astype(np.float32),
        instructions=(f"pick apple {seed % 2}",) * (steps // 2) + ("stop",) * (steps - steps // 2),
        success=[True, False, None][seed % 3],
        source=["expert", "random"][seed % 2],
        id=f"train/{seed}",
        demonstrated=rng.random(steps) < 0.5,
    )
    return replace(made, **change)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def write(path: Path, episodes: list[Episode], **options: Any) -> Path:
    with LeRobotExport(path, RT1_ACTIONS, RT1_STATE, **options) as export:
        for one in episodes:
            export.add(one)
    return path


def require_same(found: Episode, made: Episode) -> None:
    """All but the images."""
    np.testing.assert_array_equal(found.actions, made.actions)
    np.testing.assert_array_equal(found.states, made.states)
    np.testing.assert_array_equal(found.demonstrated, made.demonstrated)
    for key in ("instructions", "success", "source", "id"):
        assert getattr(found, key) == getattr(made, key), key


def test_everything_comes_back(tmp_path: Path) -> None:
    made = [episode(seed, steps) for seed, steps in enumerate((6, 1, 9, 4))]
    source = open_dataset(write(tmp_path / "set", made))
    assert len(source) == 4 and source.image_size == (64, 80)
    assert source.action_spec == RT1_ACTIONS and source.state_spec == RT1_STATE
    for i in (3, 0, 2, 1):
        require_same(source[i], made[i])
        assert psnr(source[i].images, made[i].images) > 36


def test_labels_that_stay_behind_are_told_of(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="steps_left stay behind: LeRobot"):
        write(tmp_path / "set", [episode(0, steps_left=np.arange(6, dtype=np.float32)[::-1])])


def test_parts_begin_at_the_limits(tmp_path: Path) -> None:
    """With no room at all, each episode has files of its own, and times begin anew."""
    made = [episode(seed) for seed in range(3)]
    path = write(tmp_path / "set", made, limits=Limits(data_mb=0, video_mb=0))
    for pattern in ("data/*/*.parquet", f"videos/{KEY}/*/*.mp4", "meta/episodes/*/*.parquet"):
        names = sorted(file.stem for file in path.glob(pattern))
        assert names == ["file-000", "file-001", "file-002"]
    source = open_dataset(path)
    for i in range(3):
        require_same(source[i], made[i])
        assert psnr(source[i].images, made[i].images) > 36


def test_episodes_that_know_less(tmp_path: Path) -> None:
    made = replace(episode(0, demonstrated=None), states=None, instructions=(), success=None)
    with LeRobotExport(tmp_path / "set", RT1_ACTIONS) as export:
        export.add(made)
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert set(info["features"]) & {"observation.state", "demonstrated"} == set()
    from selfflow_robotics.data.rlds.mappings import RT1

    source = open_dataset(tmp_path / "set", replace(RT1, states=(), state_spec=None))
    found = source[0]
    assert found.instructions == () and found.success is None and found.demonstrated is None
    np.testing.assert_array_equal(found.actions, made.actions)


@pytest.mark.skipif(not GIF.is_file(), reason=f"no RT-1 fixture at {GIF}")
def test_real_frames_keep_forty_decibels(tmp_path: Path) -> None:
    with Image.open(GIF) as gif:
        frames = []
        for i in range(gif.n_frames):  # type: ignore[attr-defined]
            gif.seek(i)
            frames.append(np.asarray(gif.convert("RGB")))
    images = np.stack(frames)
    path = write(tmp_path / "set", [episode(0, len(images), images=images)])
    assert 40 < psnr(open_dataset(path)[0].images, images) < 43  # 42.7 is what 4:2:0 allows


def test_files_are_those_of_the_format(tmp_path: Path) -> None:
    made = [episode(seed, steps) for seed, steps in enumerate((6, 9))]
    path = write(tmp_path / "set", made)
    info = json.loads((path / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 3)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 15, 3)
    assert info["splits"] == {"train": "0:2"}
    assert info["features"]["action"]["names"] == list(RT1_ACTIONS.names)
    rows = pq.read_table(path / "data/chunk-000/file-000.parquet").to_pydict()
    assert set(rows) | {KEY} == set(info["features"])
    assert rows["index"] == list(range(15))
    assert rows["frame_index"] == [*range(6), *range(9)]
    assert rows["task_index"] == [0] * 3 + [1] * 3 + [2] * 4 + [1] * 5
    np.testing.assert_allclose(rows["timestamp"][:6], np.arange(6) / 3, rtol=1e-6)
    places = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [p[f"videos/{KEY}/from_timestamp"] for p in places] == [0.0, 2.0]
    assert [p[f"videos/{KEY}/to_timestamp"] for p in places] == [2.0, 5.0]
    assert [(p["dataset_from_index"], p["dataset_to_index"]) for p in places] == [(0, 6), (6, 15)]
    assert [p["tasks"] for p in places] == [["pick apple 0", "stop"], ["pick apple 1", "stop"]]
    assert [p["success"] for p in places] == [True, False]
    tasks = pq.read_table(path / "meta/tasks.parquet")
    assert tasks.column("task").to_pylist() == ["pick apple 0", "stop", "pick apple 1"]
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["task"]
    with av.open(path / f"videos/{KEY}/chunk-000/file-000.mp4") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 3 and stream.frames == 15
        keys = [frame.key_frame for frame in container.decode(stream)]
    assert keys[0] and keys[6]  # every episode can be reached without the one before it


def test_statistics_are_those_of_numpy(tmp_path: Path) -> None:
    made = [episode(seed, steps) for seed, steps in enumerate((6, 9))]
    path = write(tmp_path / "set", made)
    found = json.loads((path / "meta/stats.json").read_text())
    actions = np.concatenate([one.actions for one in made if one.actions is not None])
    images = np.concatenate([one.images for one in made])
    levels = np.moveaxis(images, -1, 0).reshape(3, -1) / 255
    expected = {"action": actions.astype(np.float64), KEY: levels.T}
    for key, values in expected.items():
        for name, value in (
            ("min", values.min(axis=0)),
            ("max", values.max(axis=0)),
            ("mean", values.mean(axis=0)),
            ("std", values.std(axis=0)),
            ("q01", np.quantile(values, 0.01, axis=0)),
            ("q99", np.quantile(values, 0.99, axis=0)),
        ):
            assert np.shape(found[key][name]) == ((7,) if key == "action" else (3, 1, 1))
            np.testing.assert_allclose(np.ravel(found[key][name]), value, atol=1 / 255, rtol=1e-6)
        assert found[key]["count"] == [15]
    places = pq.read_table(path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert made[1].actions is not None
    mean = made[1].actions.astype(np.float64).mean(axis=0)
    np.testing.assert_allclose(places[1]["stats/action/mean"], mean)


def test_command_exports_what_collect_writes(tmp_path: Path) -> None:
    written = [rt1_episode(steps, seed) for seed, steps in enumerate((5, 3))]
    marks = np.array([True, False, True, True, False])
    with Rt1Writer(tmp_path / "rlds", (16, 24)) as writer:
        writer.add(replace(written[0], demonstrated=marks))
        writer.add(written[1])
    words = ["data", "export", "lerobot", f"data={tmp_path / 'rlds'}", f"out={tmp_path / 'out'}"]
    assert main(words) == 0
    before, after = open_dataset(tmp_path / "rlds"), open_dataset(tmp_path / "out")
    assert after.action_spec == before.action_spec and after.state_spec == before.state_spec
    for i in range(2):
        require_same(after[i], before[i])
        assert psnr(after[i].images, before[i].images) > 36
    assert main(words) == 1  # out exists
    # A LeRobot data set is exported like any other.
    words = ["data", "export", "lerobot", f"data={tmp_path / 'out'}", f"out={tmp_path / 'again'}"]
    assert main(words) == 0
    require_same(open_dataset(tmp_path / "again")[0], before[0])


def test_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(tmp_path / "rlds", [b""])
    for source, message in (("nowhere", "does not exist"), ("rlds", "episode train/0")):
        words = [f"data={tmp_path / source}", f"out={tmp_path / 'out'}"]
        assert main(["data", "export", "lerobot", *words]) == 1
        assert message in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["rlds"]


def test_an_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyError), LeRobotExport(tmp_path / "set", RT1_ACTIONS) as export:
        export.add(episode(0))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", [DATA_PATH, VIDEO_PATH, EPISODES_PATH])
def test_full_disk_leaves_nothing_behind(tmp_path: Path, file: str) -> None:
    """Rows, frames or what is said of the episodes go to a device that is always full."""
    name = file.format(video_key=EXPORTED_IMAGE, chunk_index=0, file_index=0)
    noise = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), np.uint8)
    with pytest.raises(OSError) as caught, LeRobotExport(tmp_path / "set", RT1_ACTIONS) as export:
        (folder,) = tmp_path.iterdir()
        (folder / name).parent.mkdir(parents=True)
        (folder / name).symlink_to("/dev/full")
        for seed in range(2):
            export.add(episode(seed, 400, images=noise))
    said = str(caught.value)
    assert f"{tmp_path / 'set'} could not be written (No space left on device)" in said
    assert "make room on its disk and run again" in said
    assert list(tmp_path.iterdir()) == []


def test_of_two_writers_the_second_is_refused(tmp_path: Path) -> None:
    said = r"set exists already; name another folder"
    second = LeRobotExport(tmp_path / "set", RT1_ACTIONS, RT1_STATE)
    with pytest.raises(FileExistsError, match=said), second:
        second.add(episode(1))
        write(tmp_path / "set", [episode(0)])
    assert list(tmp_path.iterdir()) == [tmp_path / "set"]
    require_same(open_dataset(tmp_path / "set")[0], episode(0))


def test_nothing_to_write_and_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no episode was given"):
        write(tmp_path / "set", [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "set").mkdir()
    with pytest.raises(FileExistsError, match="exists already"):
        write(tmp_path / "set", [episode(0)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, r"episode train/1 .* actions of shape None .* 7 entries"),
        ({"states": np.zeros((6, 3), np.float32)}, r"states of shape \(6, 3\) .* 8 entries"),
        ({"images": smooth(6, 1, (32, 40))}, r"images of \(32, 40\) pixels after .*\(64, 80\)"),
        ({"images": smooth(6, 1, (63, 80))}, r"\(63, 80\) pixels; H.264 needs an even"),
        ({"demonstrated": None}, "lacks marks of what is demonstrated"),
    ],
)
def test_episodes_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "set", [episode(0), episode(1, **change)])
    assert list(tmp_path.iterdir()) == []
