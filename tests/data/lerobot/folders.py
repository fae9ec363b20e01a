"""LeRobot folders of each version, written from the format's description with PyArrow and PyAV."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from selfflow_robotics.data.lerobot.source import LeRobotSource

IMAGE = "observation.images.image"
LENGTHS = (5, 9, 1, 7)
TASKS = ("pick can", "pick apple")
SIZE = (32, 48)
RATE = 3
FIRST = tuple(int(n) for n in np.cumsum((0, *LENGTHS[:-1])))


def actions(episode: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(episode)
    return rng.uniform(-0.2, 0.2, (LENGTHS[episode], 7)).astype(np.float32)


def states(episode: int) -> NDArray[np.float32]:
    return np.random.default_rng(100 + episode).standard_normal((LENGTHS[episode], 8), np.float32)


def grey(episode: int) -> list[int]:
    """The level of each frame, which tells it from all others of the data set."""
    return [10 + 10 * (FIRST[episode] + i) for i in range(LENGTHS[episode])]


def task_numbers(episode: int) -> list[int]:
    """Episode 1 changes its task after four steps."""
    steps = LENGTHS[episode]
    return [0] * 4 + [1] * (steps - 4) if episode == 1 else [episode % 2] * steps


def levels(source: LeRobotSource, index: int) -> list[float]:
    """The level of each frame of an episode as it is read."""
    return [float(image.mean()) for image in source[index].images]


def reads(source: LeRobotSource, index: int, episode: int) -> None:
    """Episode number index of the source is that one of the folder."""
    np.testing.assert_array_equal(source[index].actions, actions(episode))
    np.testing.assert_array_equal(source[index].states, states(episode))
    np.testing.assert_allclose(levels(source, index), grey(episode), atol=2)


def write_v2(path: Path, version: str = "v2.1", kind: str = "video") -> Path:
    """A file of rows and one of frames for each episode."""
    for episode, steps in enumerate(LENGTHS):
        write_rows(path / f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet", [episode])
        if kind == "image":
            put_images(path / f"data/chunk-{episode // 2:03d}/episode_{episode:06d}.parquet")
        else:
            name = f"videos/chunk-{episode // 2:03d}/{IMAGE}/episode_{episode:06d}.mp4"
            write_video(path / name, grey(episode))
        assert steps == len(grey(episode))
    meta = path / "meta"
    meta.mkdir()
    write_lines(meta / "tasks.jsonl", [{"task_index": i, "task": t} for i, t in enumerate(TASKS)])
    write_lines(
        meta / "episodes.jsonl",
        [{"episode_index": e, "tasks": [TASKS[e % 2]], "length": n} for e, n in enumerate(LENGTHS)],
    )
    write_info(path, version, kind)
    return path


def write_v3(path: Path, kind: str = "video", row_groups: bool = True) -> Path:
    """Two episodes in each file of rows and of frames."""
    places: list[dict[str, Any]] = []
    for file, episodes in enumerate(([0, 1], [2, 3])):
        rows = path / f"data/chunk-000/file-{file:03d}.parquet"
        write_rows(rows, episodes, row_groups)
        if kind == "image":
            put_images(rows)
        else:
            levels = [level for episode in episodes for level in grey(episode)]
            write_video(path / f"videos/{IMAGE}/chunk-000/file-{file:03d}.mp4", levels)
        start = 0.0
        for episode in episodes:
            end = start + LENGTHS[episode] / RATE
            places.append(
                {
                    "episode_index": episode,
                    "tasks": [TASKS[episode % 2]],
                    "length": LENGTHS[episode],
                    "data/chunk_index": 0,
                    "data/file_index": file,
                    f"videos/{IMAGE}/chunk_index": 0,
                    f"videos/{IMAGE}/file_index": file,
                    f"videos/{IMAGE}/from_timestamp": start,
                    f"videos/{IMAGE}/to_timestamp": end,
                    "stats/action/mean": [0.0] * 7,
                }
            )
            start = end
    write_table(path / "meta/episodes/chunk-000/file-000.parquet", places)
    tasks = [{"task_index": i, "__index_level_0__": task} for i, task in enumerate(TASKS)]
    write_table(path / "meta/tasks.parquet", tasks)
    write_info(path, "v3.0", kind)
    return path


def write_info(path: Path, version: str, kind: str) -> None:
    v3 = version == "v3.0"
    number = {"shape": [1], "names": None}
    (path / "meta/info.json").write_text(
        json.dumps(
            {
                "codebase_version": version,
                "total_episodes": len(LENGTHS),
                "chunks_size": 1000 if v3 else 2,
                "fps": RATE,
                "splits": {"train": f"0:{len(LENGTHS)}"},
                "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
                if v3
                else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
                "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
                if v3
                else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
                "features": {
                    IMAGE: {"dtype": kind, "shape": [*SIZE, 3], "names": ["height", "width", "c"]},
                    "observation.state": {"dtype": "float32", "shape": [8], "names": None},
                    "action": {"dtype": "float32", "shape": [7], "names": None},
                    "timestamp": {"dtype": "float32", **number},
                    "task_index": {"dtype": "int64", **number},
                },
            }
        )
    )


def change_info(path: Path, **entries: Any) -> None:
    """Replace entries of `meta/info.json`; None takes one out."""
    file = path / "meta/info.json"
    content = {**json.loads(file.read_text()), **entries}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def write_rows(file: Path, episodes: Sequence[int], row_groups: bool = False) -> None:
    tables = []
    for episode in episodes:
        steps = range(LENGTHS[episode])
        columns = {
            "observation.state": pa.FixedSizeListArray.from_arrays(states(episode).ravel(), 8),
            "action": pa.array(actions(episode).tolist(), pa.list_(pa.float32())),
            "timestamp": pa.array([i / RATE for i in steps], pa.float32()),
            "frame_index": pa.array(steps, pa.int64()),
            "episode_index": pa.array([episode] * len(steps), pa.int64()),
            "index": pa.array([FIRST[episode] + i for i in steps], pa.int64()),
            "task_index": pa.array(task_numbers(episode), pa.int64()),
        }
        tables.append(pa.table(columns))
    file.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(file, tables[0].schema) as writer:
        for table in tables if row_groups else [pa.concat_tables(tables)]:
            writer.write_table(table)


def put_images(file: Path) -> None:
    """Add the frames to a file of rows, as PNG files in its cells."""

    def add(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            level = grey(row["episode_index"])[row["frame_index"]]
            target = io.BytesIO()
            Image.new("RGB", SIZE[::-1], (level, level, level)).save(target, "PNG")
            row[IMAGE] = {"bytes": target.getvalue(), "path": None}

    change_rows(file, add)


def change_rows(file: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Rewrite a parquet file after a change to its rows."""
    rows = pq.read_table(file).to_pylist()
    change(rows)
    write_table(file, rows)


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)


def write_lines(file: Path, lines: Sequence[object]) -> None:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_video(
    file: Path, levels: Sequence[int], size: tuple[int, int] = SIZE, rate: int = RATE
) -> None:
    """One key frame at the start and frames predicted from later ones, as general encoders do."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "5", "bf": "3"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for level in levels:
            image = np.full((*size, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
