"""What an export says of itself: `meta/info.json` and `meta/tasks.parquet`, version 3.0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.lerobot.mappings import ACTION, EXPORTED_IMAGE, STATE
from selfflow_robotics.data.lerobot.meta import DEMONSTRATED
from selfflow_robotics.data.lerobot.part import DATA_PATH, FILES_PER_CHUNK, VIDEO_PATH, Limits

COUNTERS = ("frame_index", "episode_index", "index", "task_index")


def features(
    image_size: tuple[int, int], actions: ActionSpec, states: StateSpec | None, marked: bool
) -> dict[str, dict[str, Any]]:
    """Every feature of an export, by its name; `marked` where steps tell what is to be imitated."""
    height, width = image_size
    found: dict[str, dict[str, Any]] = {
        EXPORTED_IMAGE: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.fps": _plain(actions.rate_hz),
                "video.channels": 3,
                "has_audio": False,
                "is_depth_map": False,
            },
        }
    }
    if states is not None:
        found[STATE] = _feature("float32", states.names)
    found[ACTION] = _feature("float32", actions.names)
    if marked:
        found[DEMONSTRATED] = _feature("bool")
    found["timestamp"] = _feature("float32")
    return found | {key: _feature("int64") for key in COUNTERS}


def info(
    features: Mapping[str, Any],
    rate_hz: float,
    limits: Limits,
    *,
    episodes: int,
    steps: int,
    tasks: int,
) -> dict[str, Any]:
    """The content of `meta/info.json`."""
    return {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": episodes,
        "total_frames": steps,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": limits.data_mb,
        "video_files_size_in_mb": limits.video_mb,
        "fps": _plain(rate_hz),
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH,
        "features": features,
    }


def tasks_table(tasks: Mapping[str, int]) -> pa.Table:
    """The numbers of the tasks, with the texts as the index that pandas will find."""
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), "task": list(tasks)})
    kinds = {"task_index": ("int64", "int64"), "task": ("unicode", "object")}
    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {
                "name": name,
                "field_name": name,
                "pandas_type": kind,
                "numpy_type": numpy_kind,
                "metadata": None,
            }
            for name, (kind, numpy_kind) in kinds.items()
        ],
        "pandas_version": "2.0.0",
    }
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _feature(dtype: str, names: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) or 1], "names": list(names) or None}


def _plain(rate: float) -> int | float:
    """LeRobot's rates are whole numbers wherever they can be."""
    return int(rate) if rate == int(rate) else rate
