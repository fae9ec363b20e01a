"""`selfflow data check` on a LeRobot folder finds what is wrong, and counts what is right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import change_rows, write_v2, write_v3
from test_faults import MAPPING, V2_ROWS, V2_VIDEO, V3_ROWS, V3_VIDEO

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.lerobot.dataset_check import check_lerobot


@pytest.mark.parametrize(
    ("write", "rows"), [(write_v2, V2_ROWS), (write_v3, V3_ROWS)], ids=["v2.1", "v3.0"]
)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("key", "size"), [("action", 7), ("observation.state", 8)])
def test_number_that_is_not_finite_is_named_and_the_rest_is_counted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], Path],
    rows: str,
    value: float,
    key: str,
    size: int,
) -> None:
    path = write(tmp_path / "set")
    (sound,) = check_lerobot(path, MAPPING)
    assert (sound.split, sound.episodes, sound.faults) == ("train", 4, ())

    def spoil(found: list[dict[str, Any]]) -> None:
        [row] = [r for r in found if (r["episode_index"], r["frame_index"]) == (1, 2)]
        row[key] = [value] * size

    change_rows(path / rows, spoil)
    (found,) = check_lerobot(path, MAPPING)
    assert (found.episodes, found.steps) == (3, sound.steps - 9)
    (fault,) = found.faults
    assert fault.startswith(f"episode train/1 of {path} ({rows}) has {key} = [{value}, ")
    assert "at step 2; leave the episode out or write it again with finite numbers" in fault
    assert main(["data", "check", f"data={path}", f"data.mapping={MAPPING}"]) == 1
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "video", "lost"),
    [(write_v2, V2_VIDEO, [1]), (write_v3, V3_VIDEO, [0, 1])],
    ids=["v2.1", "v3.0"],
)
def test_video_that_cannot_be_read_is_named_and_the_rest_is_counted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], Path],
    video: str,
    lost: list[int],
) -> None:
    path = write(tmp_path / "set")
    (sound,) = check_lerobot(path, MAPPING)
    (path / video).write_bytes(b"not a video")
    (found,) = check_lerobot(path, MAPPING)
    assert found.episodes == sound.episodes - len(lost)
    for episode, fault in zip(lost, found.faults, strict=True):
        assert f"train/{episode}" in fault and video in fault, fault
    assert main(["data", "check", f"data={path}", f"data.mapping={MAPPING}"]) == 1
    said = capsys.readouterr().err
    assert all(fault in said for fault in found.faults)
