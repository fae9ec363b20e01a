"""Data sets as other people's writers leave them: what is there is read, or named in a sentence."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from folders import (
    IMAGE,
    LENGTHS,
    TASKS,
    change_info,
    change_rows,
    reads,
    write_lines,
    write_rows,
    write_v2,
    write_v3,
)

from selfflow_robotics.data.lerobot.dataset_check import check_lerobot
from selfflow_robotics.data.lerobot.mappings import FRACTAL_MIRROR
from selfflow_robotics.data.lerobot.source import open_lerobot
from selfflow_robotics.storage.notice import Notice

MAPPING = FRACTAL_MIRROR.name
WRITERS = {"v2.1": write_v2, "v3.0": write_v3}
PLACES = "meta/episodes/chunk-000/file-000.parquet"
ROWS = {"v2.1": "data/chunk-000/episode_000001.parquet", "v3.0": "data/chunk-000/file-000.parquet"}

Rows = list[dict[str, Any]]


@pytest.mark.parametrize("version", WRITERS)
class TestWhichEpisodes:
    @pytest.mark.parametrize("says", ["0:3", "0:1", "0:100", "0:" + "9" * 25])
    def test_a_split_that_is_no_count(self, tmp_path: Path, version: str, says: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        change_info(path, splits={"train": says})
        with pytest.warns(Notice, match=rf'info.json says .*"{says}", but meta/ lists 4 episodes'):
            source = open_lerobot(path, MAPPING)
        assert len(source) == 4
        reads(source, 3, 3)

    @pytest.mark.parametrize(
        "splits", [{"train": "0:2", "val": "2:3"}, {"train": "0:2", "val": "2:9"}]
    )
    def test_several_splits_that_leave_some_out(
        self, tmp_path: Path, version: str, splits: dict[str, str]
    ) -> None:
        path = WRITERS[version](tmp_path / "set")
        change_info(path, splits=splits)
        with pytest.raises(ValueError, match=r"info.json has the splits .* not the 4 episodes"):
            open_lerobot(path, MAPPING)
        with pytest.raises(ValueError, match=r"not the 4 episodes"):
            check_lerobot(path, MAPPING)

    @pytest.mark.parametrize("says", ["0:3", "0:4"])
    def test_removed_episodes(self, tmp_path: Path, version: str, says: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        remove_episode_1(path, version)
        change_info(path, total_episodes=3, splits={"train": says})
        source = open_lerobot(path, MAPPING)
        assert len(source) == 3
        for index, episode in enumerate((0, 2, 3)):
            reads(source, index, episode)

    def test_rows_of_episodes_that_are_not_listed(self, tmp_path: Path, version: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        kept = (path / ROWS[version]).read_bytes()
        remove_episode_1(path, version)
        (path / ROWS[version]).write_bytes(kept)
        change_info(path, total_episodes=3, splits=None)
        (found,) = check_lerobot(path, MAPPING)
        assert found.episodes == 3
        assert any("holds rows of 1 episode that meta/ does not list: 1" in f for f in found.faults)


def remove_episode_1(path: Path, version: str) -> None:
    """Take it out of the lists and of the rows, as people do by hand; its frames stay."""
    if version == "v2.1":
        lines = (path / "meta/episodes.jsonl").read_text().splitlines()
        (path / "meta/episodes.jsonl").write_text("\n".join(lines[:1] + lines[2:]))
        (path / ROWS[version]).unlink()
        return
    change_rows(path / PLACES, lambda rows: rows.pop(1))
    table = pq.read_table(path / ROWS[version])
    pq.write_table(table.slice(0, LENGTHS[0]), path / ROWS[version])


class TestPlacesOfRows:
    def test_place_of_the_file_before(self, tmp_path: Path) -> None:
        """LeRobot's converter left such; rows are looked for, in all files once."""
        path = write_v3(tmp_path / "set")
        change_rows(path / PLACES, lambda rows: rows[2].update({"data/file_index": 0}))
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            reads(source, number, number)
        assert check_lerobot(path, MAPPING)[0].faults == ()

    def test_place_of_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")
        change_rows(path / PLACES, lambda rows: rows[1].update({"data/file_index": 7}))
        reads(open_lerobot(path, MAPPING), 1, 1)

    def test_rows_in_two_other_files(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")
        write_rows(path / "data/chunk-000/file-002.parquet", [2])
        change_rows(path / PLACES, lambda rows: rows[2].update({"data/file_index": 0}))
        with pytest.raises(ValueError, match=r"train/2 .*file-001.parquet and .*file-002.parquet"):
            open_lerobot(path, MAPPING)[2]


@pytest.mark.parametrize("version", WRITERS)
class TestRows:
    @pytest.mark.parametrize(
        "key", ["timestamp", "frame_index", "task_index", "episode_index", "index"]
    )
    @pytest.mark.parametrize("kind", ["list", "fixed"])
    def test_lists_of_one(self, tmp_path: Path, version: str, key: str, kind: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        for file in path.glob("data/*/*.parquet"):
            table = pq.read_table(file)
            column = table.column(key).combine_chunks()
            wrapped = pa.FixedSizeListArray.from_arrays(column, 1)
            if kind == "list":
                wrapped = wrapped.cast(pa.list_(column.type))
            at = table.column_names.index(key)
            pq.write_table(table.set_column(at, key, wrapped), file)
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            reads(source, number, number)

    def test_lists_of_two(self, tmp_path: Path, version: str) -> None:
        path = WRITERS[version](tmp_path / "set")

        def double(rows: Rows) -> None:
            for row in rows:
                row["task_index"] = [0, 1]

        change_rows(path / ROWS[version], double)
        with pytest.raises(ValueError, match=r"train/1 .*task_index as lists of 2 numbers"):
            open_lerobot(path, MAPPING)[1]

    @pytest.mark.parametrize("size", [6, 8, 14])
    def test_rows_of_another_size_than_declared(
        self, tmp_path: Path, version: str, size: int
    ) -> None:
        path = WRITERS[version](tmp_path / "set")

        def resize(rows: Rows) -> None:
            for row in rows:
                row["action"] = [0.1] * size

        change_rows(path / ROWS[version], resize)
        found = check_lerobot(path, MAPPING)[0].faults
        wrong = [fault for fault in found if f"has action of {size} numbers a step" in fault]
        assert wrong == list(found) and any("train/1 of" in fault for fault in wrong), found
        assert all("info.json declares 7" in fault for fault in wrong)

    def test_rows_out_of_order(self, tmp_path: Path, version: str) -> None:
        path = WRITERS[version](tmp_path / "set")
        for file in path.glob("data/*/*.parquet"):
            change_rows(file, lambda rows: rows.reverse())
        source = open_lerobot(path, MAPPING)
        for number in range(4):
            reads(source, number, number)

    def test_words_where_numbers_are_due(self, tmp_path: Path, version: str) -> None:
        path = WRITERS[version](tmp_path / "set")

        def spell(rows: Rows) -> None:
            for row in rows:
                row["action"] = "left"

        change_rows(path / ROWS[version], spell)
        with pytest.raises(ValueError, match=r"train/1 .*holds action as string, no numbers"):
            open_lerobot(path, MAPPING)[1]


class TestTasks:
    def test_a_line_that_is_there_twice(self, tmp_path: Path) -> None:
        path = write_v2(tmp_path / "set")
        lines = [{"task_index": i, "task": text} for i, text in enumerate(TASKS)]
        write_lines(path / "meta/tasks.jsonl", [*lines, lines[0]])
        assert open_lerobot(path, MAPPING)[0].instructions[0] == TASKS[0]
        write_lines(path / "meta/tasks.jsonl", [*lines, {"task_index": 0, "task": "push"}])
        with pytest.raises(
            ValueError, match=r'tasks.jsonl gives task 0 two .*"pick can" and "push'
        ):
            open_lerobot(path, MAPPING)

    def test_a_text_with_the_line_ends_of_unicode(self, tmp_path: Path) -> None:
        path = write_v2(tmp_path / "set")
        odd = "pick\u2028the\x85can"
        text = json.dumps({"task_index": 0, "task": odd}, ensure_ascii=False)
        text += "\n" + json.dumps({"task_index": 1, "task": "b"}) + "\n"
        (path / "meta/tasks.jsonl").write_text(text, encoding="utf-8")
        assert open_lerobot(path, MAPPING)[0].instructions[0] == odd


class TestImages:
    @pytest.mark.parametrize(
        ("cell", "said"),
        [
            (
                {"bytes": None, "path": "images/frame_000001.png"},
                'there is only the path of one, "images/f',
            ),
            ({"bytes": None, "path": None}, "there is no image"),
            ({"bytes": b"GIF89a", "path": None}, "it is corrupt"),
        ],
    )
    def test_cell_without_an_image(self, tmp_path: Path, cell: dict[str, Any], said: str) -> None:
        path = write_v3(tmp_path / "set", kind="image")
        change_rows(path / ROWS["v3.0"], lambda rows: rows[6].update({IMAGE: cell}))
        with pytest.raises(ValueError, match=rf"train/1 .*{IMAGE} .* at step 1: {said}"):
            open_lerobot(path, MAPPING)[1]

    def test_size_is_looked_at_before_pixels(self, tmp_path: Path) -> None:
        """A PNG whose header promises 100,000 x 100,000 pixels is refused by that alone."""
        path = write_v3(tmp_path / "set", kind="image")

        def blow_up(rows: Rows) -> None:
            content = bytearray(rows[6][IMAGE]["bytes"])
            content[16:24] = struct.pack(">2I", 100_000, 100_000)
            rows[6][IMAGE] = {"bytes": bytes(content), "path": None}

        change_rows(path / ROWS["v3.0"], blow_up)
        with pytest.raises(ValueError, match=r"train/1 .* at step 1: "):
            open_lerobot(path, MAPPING)[1]
