"""Both directions against LeRobot itself, which lives in an environment of its own.

``LEROBOT_PYTHON`` names an interpreter that has it: a release that reads and writes v3.0, or, for
the tests of what it writes, one that writes v2.1.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from test_export import episode, psnr, write

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.lerobot.dataset_check import check_lerobot

PYTHON = os.environ.get("LEROBOT_PYTHON")
pytestmark = pytest.mark.skipif(PYTHON is None, reason="LEROBOT_PYTHON names no interpreter")


def with_lerobot(*words: object) -> None:
    script = Path(__file__).parent / "with_lerobot.py"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    environment["HF_HOME"] = str(words[1]) + "-cache"
    done = subprocess.run(
        [str(PYTHON), str(script), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_lerobot_reads_what_we_export(tmp_path: Path) -> None:
    made = [episode(seed, steps) for seed, steps in enumerate((6, 1, 9, 4))]
    path = write(tmp_path / "set", made)
    with_lerobot("read", path, tmp_path / "read.npz")
    found, ours = np.load(tmp_path / "read.npz"), open_dataset(path)
    for key in ("actions", "states", "demonstrated"):
        values = np.concatenate([getattr(one, key) for one in made])
        np.testing.assert_array_equal(found[key], values)
    assert found["tasks"].tolist() == [text for one in made for text in one.instructions]
    assert found["episodes"].tolist() == [i for i, one in enumerate(made) for _ in range(len(one))]
    assert found["fps"] == 3
    images = np.round(found["images"] * 255).astype(np.uint8)
    assert psnr(images, np.concatenate([one.images for one in made])) > 36
    decoded = np.concatenate([ours[i].images for i in range(4)])
    assert np.abs(images.astype(int) - decoded).max() <= 1
    mean = np.concatenate([one.images for one in made]).mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(found["image_mean"].ravel(), mean, atol=1e-6)


def same(found: Episode, truth: Mapping[str, np.ndarray], number: int, decibels: float) -> None:
    """States and actions to the bit, images within the codec's error."""
    np.testing.assert_array_equal(found.actions, truth[f"actions{number}"])
    np.testing.assert_array_equal(found.states, truth[f"states{number}"])
    task = "pick apple" if number % 2 else "pick can"
    assert found.instructions == (task,) * len(found)
    if decibels == np.inf:
        np.testing.assert_array_equal(found.images, truth[f"images{number}"])
    else:
        assert psnr(found.images, truth[f"images{number}"]) > decibels


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "decibels"), [("write", 30), ("write_images", np.inf)])
def test_we_read_what_lerobot_writes(tmp_path: Path, mode: str, decibels: float) -> None:
    with_lerobot(mode, tmp_path / "set", tmp_path / "truth.npz")
    truth = np.load(tmp_path / "truth.npz")
    source = open_dataset(tmp_path / "set", "fractal20220817_data_lerobot")
    assert len(source) == 4
    for i in (2, 0, 3, 1):
        same(source[i], truth, i, decibels)
    assert check_lerobot(tmp_path / "set", "fractal20220817_data_lerobot")[0].faults == ()


@pytest.mark.slow
def test_we_read_what_lerobot_leaves_of_a_data_set(tmp_path: Path) -> None:
    with_lerobot("write", tmp_path / "set", tmp_path / "truth.npz")
    with_lerobot("delete", tmp_path / "set", tmp_path / "fewer")
    truth = np.load(tmp_path / "truth.npz")
    source = open_dataset(tmp_path / "fewer", "fractal20220817_data_lerobot")
    assert len(source) == 3
    for i, number in enumerate((0, 2, 3)):
        same(source[i], truth, number, 30)
