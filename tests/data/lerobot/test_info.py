"""Wrong values in `meta/` are a sentence that names the file, and lead nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from folders import (
    IMAGE,
    change_info,
    change_rows,
    write_v3,
)

from selfflow_robotics.data.lerobot.mappings import FRACTAL_MIRROR
from selfflow_robotics.data.lerobot.source import open_lerobot

MAPPING = FRACTAL_MIRROR.name
PLACES = "meta/episodes/chunk-000/file-000.parquet"


class TestInfo:
    @pytest.mark.parametrize(
        "change",
        [
            {"fps": "3"},
            {"fps": 0},
            {"fps": float("nan")},
            {"fps": [3]},
            {"total_episodes": "4"},
            {"total_episodes": True},
            {"features": [1]},
            {"features": {IMAGE: 3}},
            {"features": "none"},
            {"splits": ["train"]},
            {"splits": {"train": [0, 4]}},
            {"splits": {"train": "2:1"}},
            {"codebase_version": 3},
            {"data_path": 3},
            {"data_path": "../../{chunk_index:03d}.parquet"},
            {"data_path": "/etc/{chunk_index}"},
            {"data_path": "data/{chunk_index:>900000000}.parquet"},
            {"data_path": "data/{chunk_index.__class__}"},
            {"data_path": "data/{chunk_index!r:>99999}"},
            {"data_path": "data/{"},
            {"video_path": "{video_key}/../../../{chunk_index}.mp4"},
        ],
        ids=str,
    )
    def test_entry_of_a_wrong_kind(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path = write_v3(tmp_path / "set")
        info = json.loads((path / "meta/info.json").read_text())
        if isinstance(change.get("features"), dict):
            change = {"features": {**info["features"], **change["features"]}}
        change_info(path, **change)
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            open_lerobot(path, MAPPING)[0]
        assert "set/" in str(caught.value) and "\n" not in str(caught.value)
        if change.keys() != {"data_path"} or "{" in str(change["data_path"]):
            assert "meta/info.json" in str(caught.value), caught.value

    @pytest.mark.parametrize("shape", [None, 7, "7", [7.5], [-7], [[7]]])
    def test_shape_of_a_wrong_kind(self, tmp_path: Path, shape: Any) -> None:
        path = write_v3(tmp_path / "set")
        features = json.loads((path / "meta/info.json").read_text())["features"]
        features["action"]["shape"] = shape
        change_info(path, features=features)
        with pytest.raises(ValueError, match=r"info.json declares action as .*shape"):
            open_lerobot(path, MAPPING)

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            (f"videos/{IMAGE}/from_timestamp", float("nan")),
            (f"videos/{IMAGE}/from_timestamp", -1.0),
            (f"videos/{IMAGE}/file_index", None),
            ("length", -3),
            ("episode_index", 0),
        ],
    )
    def test_place_that_is_none(self, tmp_path: Path, column: str, value: Any) -> None:
        path = write_v3(tmp_path / "set")
        change_rows(path / PLACES, lambda rows: rows[1].update({column: value}))
        with pytest.raises(ValueError, match=r"meta/episodes.* (lacks|lists)"):
            open_lerobot(path, MAPPING)[1]

    def test_lists_nested_without_end(self, tmp_path: Path) -> None:
        path = write_v3(tmp_path / "set")
        (path / "meta/info.json").write_text("[" * 100_000)
        with pytest.raises(ValueError, match=r"info.json is damaged"):
            open_lerobot(path, MAPPING)
