"""Each fault of a LeRobot folder is one sentence that names the place and the remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from folders import (
    IMAGE,
    RATE,
    SIZE,
    actions,
    change_info,
    change_rows,
    grey,
    write_lines,
    write_table,
    write_v2,
    write_v3,
    write_video,
)

from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.lerobot.mappings import FRACTAL_MIRROR
from selfflow_robotics.data.lerobot.source import open_lerobot
from selfflow_robotics.data.rlds.mappings import BRIDGE

MAPPING = FRACTAL_MIRROR.name
V2_ROWS = "data/chunk-000/episode_000001.parquet"
V2_VIDEO = f"videos/chunk-000/{IMAGE}/episode_000001.mp4"
V3_ROWS = "data/chunk-000/file-000.parquet"
V3_VIDEO = f"videos/{IMAGE}/chunk-000/file-000.mp4"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"

Rows = list[dict[str, Any]]


def refused(path: Path, *parts: str, error: type[Exception] = ValueError) -> None:
    """Opening, or reading episode 1, fails with one line that holds these parts."""
    with pytest.raises(error) as caught:
        open_dataset(path, MAPPING)[1]
    text = str(caught.value)
    for part in parts:
        assert part in text, text
    assert "\n" not in text


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize(
    ("write", "rows", "video"),
    [(write_v2, V2_ROWS, V2_VIDEO), (write_v3, V3_ROWS, V3_VIDEO)],
    ids=["v2.1", "v3.0"],
)
class TestFiles:
    def test_missing(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        (path / rows).rename(path / "away")
        refused(path, "episode train/1 of", rows, "again", error=FileNotFoundError)
        (path / "away").rename(path / rows)
        (path / video).unlink()
        refused(path, "episode train/1 of", video, "again", error=FileNotFoundError)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.95])
    def test_truncated_rows(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str, share: float
    ) -> None:
        path = write(tmp_path / "set")
        cut(path / rows, share)
        refused(path, "episode train/1 of", rows, "truncated", "again")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
    def test_truncated_video(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str, share: float
    ) -> None:
        path = write(tmp_path / "set")
        cut(path / video, share)
        refused(path, "episode train/1 of", video, "cannot be read", "again")

    def test_foreign_files(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        (path / video).write_text("version https://git-lfs.github.com/spec/v1\n")
        refused(path, "episode train/1 of", video, "cannot be read")
        (path / rows).write_text("version https://git-lfs.github.com/spec/v1\n")
        refused(path, "episode train/1 of", rows, "damaged")

    def test_fewer_frames_than_rows(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        levels = grey(1) if "chunk-000/observation" in video else grey(0) + grey(1)
        write_video(path / video, levels[:-1])
        refused(path, "episode train/1 of", "9 rows", "8 frames", video)

    def test_frames_at_other_times(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")

        def delay(found: Rows) -> None:
            for row in found:
                row["timestamp"] = 2 * row["frame_index"] / RATE

        change_rows(path / rows, delay)
        refused(path, "episode train/1 of", "step 1 at 0.667 s", "frame 1 at 0.333 s", video)

    def test_frames_of_another_size(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        write_video(path / video, [0] * (9 if write is write_v2 else 14), size=(16, 24))
        refused(path, "episode train/1 of", "(16, 24) pixels", str(SIZE), video)

    @pytest.mark.parametrize(
        ("change", "parts"),
        [
            ({"action": [0.1, float("nan"), *[0.0] * 5]}, ("action = [0.1", "nan", "at step 2")),
            ({"observation.state": [float("inf")] * 8}, ("observation.state = [inf", "step 2")),
            ({"action": [0.0] * 6}, ("action of different sizes",)),
            ({"action": None}, ("lacks action at some step",)),
            ({"task_index": 7}, ("has task 7, which meta/ does not list",)),
            ({"frame_index": 5}, ("9 rows", "none with the frame_index 2")),
            ({"timestamp": float("nan")}, ("timestamp = nan at step 2",)),
            ({"episode_index": 0}, ("8 rows", "promises 9")),
        ],
    )
    def test_faulty_step(
        self,
        tmp_path: Path,
        write: Callable[[Path], Path],
        rows: str,
        video: str,
        change: dict[str, Any],
        parts: tuple[str, ...],
    ) -> None:
        path = write(tmp_path / "set")

        def spoil(found: Rows) -> None:
            [row] = [r for r in found if (r["episode_index"], r["frame_index"]) == (1, 2)]
            row.update(change)

        change_rows(path / rows, spoil)
        refused(path, f"episode train/1 of {path}", *parts)

    def test_no_steps(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        table = pq.read_table(path / rows)
        kept = table.filter([index != 1 for index in table.column("episode_index").to_pylist()])
        pq.write_table(kept, path / rows)
        refused(path, "episode train/1 of", "no steps", "leave it out")

    def test_feature_without_a_column(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        change_rows(path / rows, lambda found: [row.pop("action") for row in found])
        refused(path, "episode train/1 of", rows, "lacks action", "again")

    @pytest.mark.parametrize("version", ["v1.6", "v3.1", "new"])
    def test_unknown_version(
        self,
        tmp_path: Path,
        write: Callable[[Path], Path],
        rows: str,
        video: str,
        version: str,
    ) -> None:
        path = write(tmp_path / "set")
        change_info(path, codebase_version=version)
        refused(path, f"codebase_version {version}", "v2.0, v2.1, v3.0", "convert")

    @pytest.mark.parametrize("entry", ["codebase_version", "fps", "features", "total_episodes"])
    def test_incomplete_info(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str, entry: str
    ) -> None:
        path = write(tmp_path / "set")
        change_info(path, **{entry: None})
        refused(path, "info.json", f"lacks {entry}", "again")

    def test_damaged_info(
        self, tmp_path: Path, write: Callable[[Path], Path], rows: str, video: str
    ) -> None:
        path = write(tmp_path / "set")
        change_info(path, total_episodes=5)
        refused(path, "lists 4 episodes", "promises 5", "again")
        change_info(path, total_episodes=4, splits={"train": "most"})
        refused(path, 'split "train" is "most"')
        change_info(path, splits=None, data_path="data/{number}.parquet")
        refused(path, "data_path", "{number}", "cannot be filled")
        cut(path / "meta/info.json", 0.5)
        refused(path, "info.json is damaged", "again")


def test_changed_byte_in_the_rows_of_an_export_is_noticed(tmp_path: Path) -> None:
    """Files of other writers have no checksums to notice it by; ours have."""
    path = write_v3(tmp_path / "set")
    file = path / V3_ROWS
    pq.write_table(pq.read_table(file), file, write_page_checksum=True, compression="none")
    content = bytearray(file.read_bytes())
    content[content.index(actions(1)[3, 2].tobytes())] ^= 1
    file.write_bytes(content)
    refused(path, "episode train/1 of", V3_ROWS, "damaged")


def test_damaged_picture(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set", kind="image")

    def spoil(found: Rows) -> None:
        found[6][IMAGE]["bytes"] = found[6][IMAGE]["bytes"][:40]

    change_rows(path / V3_ROWS, spoil)
    refused(path, "episode train/1 of", f"a {IMAGE} that cannot be read at step 1: it is corrupt")


def test_meta_of_v2_that_is_missing_or_damaged(tmp_path: Path) -> None:
    path = write_v2(tmp_path / "set")
    episodes, tasks = path / "meta/episodes.jsonl", path / "meta/tasks.jsonl"
    kept = episodes.read_text()
    episodes.write_text(kept[:-10])
    refused(path, "line 4 of", "episodes.jsonl is damaged", "again")
    write_lines(episodes, [{"episode_index": i} for i in range(4)])
    refused(path, "episodes.jsonl lacks length", "again")
    episodes.unlink()
    refused(path, "there is no", "episodes.jsonl", error=FileNotFoundError)
    episodes.write_text(kept)
    write_lines(tasks, [{"task_index": 0}])
    refused(path, "tasks.jsonl lacks a task", "again")
    tasks.unlink()
    refused(path, "there is no", "tasks.jsonl", error=FileNotFoundError)


def test_meta_of_v3_that_is_missing_or_damaged(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set")
    column = f"videos/{IMAGE}/from_timestamp"
    change_rows(path / EPISODES, lambda found: [row.pop(column) for row in found])
    refused(path, f"lacks {column} of episode 1", "again")
    change_rows(path / EPISODES, lambda found: [row.pop("length") for row in found])
    refused(path, "meta/episodes lacks length", "again")
    cut(path / EPISODES, 0.5)
    refused(path, EPISODES, "truncated", "again")
    (path / EPISODES).unlink()
    refused(path, "no parquet file in", "meta/episodes", error=FileNotFoundError)
    write_v3(tmp_path / "other")
    tasks = tmp_path / "other" / "meta/tasks.parquet"
    write_table(tasks, [{"number": 0}])
    refused(tmp_path / "other", "tasks.parquet has the columns ['number']")
    tasks.unlink()
    refused(tmp_path / "other", "there is no", "tasks.parquet", error=FileNotFoundError)


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no LeRobot data set: it lacks meta/info.json"):
        open_lerobot(tmp_path / "nowhere", MAPPING)
    with pytest.raises(ValueError, match=r"is no LeRobot data set .* declare an RldsMapping"):
        open_dataset(tmp_path, FRACTAL_MIRROR)


def test_mapping_that_does_not_fit(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set")
    for change, parts in (
        ({"actions": ("actions",)}, ('lacks actions, which the mapping "mine" reads', "action,")),
        ({"success": "success"}, ("lacks success",)),
        ({"state_entries": (0, 1)}, ("states of {'observation.state': 8}", "8 entries")),
        ({"state_entries": (0, 8)}, ("states of {'observation.state': 8}",)),
        ({"image": "action"}, ("action of type float32 and shape (7,), no RGB image",)),
        ({"action_spec": BRIDGE.action_spec}, ("3 steps a second", "describes 5")),
    ):
        with pytest.raises(ValueError) as caught:
            open_dataset(path, replace(FRACTAL_MIRROR, name="mine", **change))
        assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_mirror_is_not_taken_for_an_export(tmp_path: Path) -> None:
    """It has the names, sizes and rate of an exported RT-1, but another sense of the gripper."""
    with pytest.raises(ValueError, match=r'lacks meta/action_spec.json, .*"rt1"; .*fractal2022'):
        open_dataset(write_v3(tmp_path / "set"))


def test_stored_actions_of_another_meaning(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set")
    stored = replace(FRACTAL_MIRROR.action_spec, rotation="quaternion")
    (path / "meta/action_spec.json").write_text(json.dumps(stored.to_json()))
    refused(path, "action_spec.json", "quaternion", f'the mapping "{MAPPING}"')


def test_stored_actions_of_another_kind_name_their_file(tmp_path: Path) -> None:
    path = write_v3(tmp_path / "set")
    stored = {**FRACTAL_MIRROR.action_spec.to_json(), "low": [float("-inf")] * 7}
    (path / "meta/action_spec.json").write_text(json.dumps(stored))
    refused(path, "meta/action_spec.json", "low = [-inf", "finite numbers")
