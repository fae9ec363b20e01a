from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import TASK, Forward

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.results import (
    Recording,
    Results,
    Settings,
    read_results,
    versions,
    write_results,
)
from selfflow_robotics.evaluation.video.psnr import Imagination
from selfflow_robotics.storage.whole_file import write_whole


def results() -> Results:
    task = evaluate(TASK, lambda envs: Forward(), [3, 9], num_envs=2)
    settings = Settings("", (TASK,), ("forward",), (3, 9), 2, (8, 10), {"speed": "1"})
    imagined = Imagination(1, 5, 2, 8, 10, (30.0,), (20.0,), (19.0,), (30.0,), (20.0,), (2.0,))
    return Results(settings, (task,), imagined, versions(), "abc", {"threads": "1"})


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    written = results()
    write_results(tmp_path / "deep" / "results.json", written)
    assert read_results(tmp_path / "deep" / "results.json") == written


def test_file_tells_rates_to_readers_without_this_package(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", results())
    (task,) = json.loads((tmp_path / "results.json").read_text())["tasks"]
    assert task["success"]["successes"] == task["success"]["episodes"] == 2
    assert task["success"]["wilson_95"] == [pytest.approx(0.3424, abs=1e-4), 1.0]
    assert task["steps_to_success"] == 4.0
    assert set(task["planning_seconds"]) == {"calls", "decisions", "mean", "p95", "per_decision"}
    assert [row["seed"] for row in task["episodes"]] == [3, 9]


def test_results_of_before_are_read(tmp_path: Path) -> None:
    """Without what was computed with, and the tasks' rates."""
    written = results()
    write_results(tmp_path / "results.json", written)
    document = json.loads((tmp_path / "results.json").read_text())
    del document["computing"]
    for task in document["tasks"]:
        del task["rate_hz"], task["starts"]
    (tmp_path / "old.json").write_text(json.dumps(document))
    found = read_results(tmp_path / "old.json")
    assert not found.computing and found.tasks[0].rate_hz is None
    assert found.tasks[0].episodes == written.tasks[0].episodes


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(number: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, results())
    path.write_text(re.sub(r'"p95": [^,]+', f'"p95": {number}', path.read_text()))
    with pytest.raises(ValueError, match=rf"results\.json .*{number} is no finite number"):
        read_results(path)


def test_damaged_results_are_named(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, results())
    whole = path.read_text()
    path.write_text(whole[:100])
    with pytest.raises(ValueError, match=r"results\.json is not readable"):
        read_results(path)
    path.write_text(whole.replace('"format": 1', '"format": 99'))
    with pytest.raises(ValueError, match="format 99"):
        read_results(path)
    path.write_text(whole.replace('"steps": 7', '"stages": 7'))
    with pytest.raises(ValueError, match="stages"):
        read_results(path)


@pytest.mark.parametrize("value", [None, 3, "x", [], [[]], {}, {"x": 1}, True, 1e308])
def test_every_field_of_a_wrong_type_is_a_sentence(tmp_path: Path, value: object) -> None:
    """Of each entry, however deep: it is read as what it was declared to be, or named."""
    path = tmp_path / "results.json"
    write_results(path, results())
    sound = json.loads(path.read_text())

    def places(tree: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        keys = list(tree) if isinstance(tree, dict) else range(len(tree))
        for key in keys:
            yield (*way, key)
            if isinstance(tree[key], (dict, list)):
                yield from places(tree[key], (*way, key))

    refused = 0
    for *way, last in places(sound):
        tree = json.loads(json.dumps(sound))
        holder = tree
        for key in way:
            holder = holder[key]
        holder[last] = value
        path.write_text(json.dumps(tree))
        try:
            write_results(tmp_path / "again.json", read_results(path))
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 10


def test_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.json"
    write_whole(path, "old")

    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_planned_actions_are_those_decided_at_each_restart() -> None:
    """Plans made every step, two steps apart in the restarts: the plan in force there counts."""
    taken = np.arange(5, dtype=np.float32)[:, None]
    episode = Episode(np.zeros((5, 2, 2, 3), np.uint8), taken, None, (), True, "planner", "x")
    plans = tuple(
        (step, np.array([[10.0 * step], [10.0 * step + 1]], np.float32)) for step in range(4)
    )
    planned = Recording(0, episode, plans).planned_actions(2)
    assert planned is not None and planned[:, 0].tolist() == [0, 1, 20, 21, 30 + 1]
    every_second = Recording(0, episode, plans[::3]).planned_actions(2)
    assert every_second is not None and every_second[:, 0].tolist() == [0, 1, 2, 3, 31]
    assert Recording(0, episode, ()).planned_actions(2) is None
