"""Opening folders of many episodes, and telling whether they are those of before.

    python benchmarks/opening.py [--episodes 25000] [--rounds 3] [--against CHECKOUT] [--json]

Makes LeRobot folders of tiny files as their writers leave them, and opens each in a process of its
own: the time of `open_dataset`, and of `identity`, by which a latent cache knows a data set.

- v2.1: a line of text an episode, a file of rows and one of frames
- v3.0: all episodes in one table
- v3.0 row groups: tables of 2,500 episodes with statistics of nine features, a row group an
  episode, as some writers leave them: what describes the rows is many times what they hold

With --against, each is opened by an older checkout too, in turns on the same machine; of either the
best round counts, and ratios are ours over theirs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = "observation.images.front"
STEPS, RATE, PER_FILE = 40, 10, 2500
FEATURES = (IMAGE, "observation.images.wrist", "action", "observation.state", "timestamp")
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
STATISTICS = ("min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99")
KINDS = ("v2.1", "v3.0", "v3.0 row groups")
MEASURED = ("open_seconds", "identity_seconds", "open_cpu_seconds")


def make(folder: Path, kind: str, episodes: int) -> None:
    """A folder of one kind: all that opening looks at, and files of a few bytes for the rest."""
    (folder / "meta").mkdir(parents=True)
    v3 = kind != "v2.1"
    place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    old = "chunk-{episode_chunk:03d}/"
    feature = {"dtype": "float32", "shape": [7], "names": None}
    info = {
        "codebase_version": "v3.0" if v3 else "v2.1",
        "total_episodes": episodes,
        "chunks_size": 1000,
        "fps": RATE,
        "splits": {"train": f"0:{episodes}"},
        "data_path": f"data/{place}.parquet" if v3 else f"data/{old}{{episode_index:06d}}.parquet",
        "video_path": f"videos/{{video_key}}/{place}.mp4"
        if v3
        else f"videos/{old}{{video_key}}/{{episode_index:06d}}.mp4",
        "features": {
            IMAGE: {"dtype": "video", "shape": [64, 80, 3], "names": None},
            "action": feature,
        },
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    if not v3:
        lines = ({"episode_index": i, "tasks": ["push"], "length": STEPS} for i in range(episodes))
        (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        (folder / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "push"}\n')
        for number in range(episodes):
            chunk = f"chunk-{number // 1000:03d}"
            for name in (
                f"data/{chunk}/{number:06d}.parquet",
                f"videos/{chunk}/{IMAGE}/{number:06d}.mp4",
            ):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(b"0" * 1000)
        return
    pq.write_table(pa.table({"task_index": [0], "task": ["push"]}), folder / "meta/tasks.parquet")
    tables = folder / "meta/episodes/chunk-000"
    tables.mkdir(parents=True)
    per_file = PER_FILE if kind == "v3.0 row groups" else episodes
    for file, first in enumerate(range(0, episodes, per_file)):
        rows = [row(number, file) for number in range(first, min(first + per_file, episodes))]
        size = 1 if kind == "v3.0 row groups" else None
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, tables / f"file-{file:03d}.parquet", row_group_size=size)


def row(number: int, file: int) -> dict[str, Any]:
    """What `meta/episodes` says of an episode."""
    start = STEPS / RATE * (number % PER_FILE)
    found: dict[str, Any] = {
        "episode_index": number,
        "tasks": ["push"],
        "length": STEPS,
        "data/chunk_index": 0,
        "data/file_index": file,
        "dataset_from_index": STEPS * number,
        "dataset_to_index": STEPS * (number + 1),
    }
    for camera in FEATURES[:2]:
        found |= {
            f"videos/{camera}/chunk_index": 0,
            f"videos/{camera}/file_index": file,
            f"videos/{camera}/from_timestamp": start,
            f"videos/{camera}/to_timestamp": start + STEPS / RATE,
        }
    entries = [0.1] * 7
    return found | {
        f"stats/{key}/{name}": entries for key in (*FEATURES, *COUNTERS) for name in STATISTICS
    }


def measure(folder: Path) -> dict[str, float]:
    """One round, in this process."""
    from selfflow_robotics.data.action_spec import ActionSpec
    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.data.lerobot.mappings import LeRobotMapping

    spec = ActionSpec(
        names=tuple("abcdefg"),
        units=("1",) * 7,
        frame="none",
        rotation="none",
        gripper="none",
        rate_hz=RATE,
        low=(-1.0,) * 7,
        high=(1.0,) * 7,
        q01=(-1.0,) * 7,
        q99=(1.0,) * 7,
    )
    mapping = LeRobotMapping("benchmark", IMAGE, spec)
    began, used = time.perf_counter(), time.process_time()
    source = open_dataset(folder, mapping)
    opened, used = time.perf_counter(), time.process_time() - used
    assert len(source) and source.identity
    return dict(zip(MEASURED, (opened - began, time.perf_counter() - opened, used), strict=True))


def rounds(folder: Path, checkouts: dict[str, Path], count: int) -> dict[str, dict[str, float]]:
    """The best of each measure for each checkout, which take turns."""
    best = {name: dict.fromkeys(MEASURED, float("inf")) for name in checkouts}
    for name, checkout in list(checkouts.items()) * count:
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(folder)],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        best[name] = {key: min(value, found[key]) for key, value in best[name].items()}
    return best


def results(
    episodes: int, checkouts: dict[str, Path], count: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """What each kind of folder takes, and ratios where there are two checkouts."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "set", kind, episodes)
            best = rounds(Path(folder) / "set", checkouts, count)
        found = dict(best["ours"])
        if "theirs" in best:
            for key, value in best["theirs"].items():
                found |= {f"older_{key}": value, f"{key}_ratio": best["ours"][key] / value}
        yield kind, {key: round(value, 3) for key, value in found.items()}


def main() -> None:
    """Measure all kinds in turns and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=25000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="an older checkout")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(json.dumps(measure(options.measure)))
        return
    checkouts = {"ours": Path(__file__).resolve().parents[1]}
    if options.against is not None:
        checkouts["theirs"] = options.against.resolve()
    found = dict(results(options.episodes, checkouts, options.rounds))
    if options.json:
        machine = f"{os.cpu_count()} cores, {platform.machine()}"
        print(json.dumps({"machine": machine, "episodes": options.episodes, **found}, indent=1))
        return
    for kind, values in found.items():
        print(kind, *(f"{key} {value}" for key, value in values.items()), sep="\n    ")


if __name__ == "__main__":
    main()
