"""`selfflow data check` on a latent cache finds what changed and counts what is right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from latent_material import material, only

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.data.latents.cache_check import check_cache
from selfflow_robotics.tokenizers.patches import Patches


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Seven episodes of 4 to 10 frames, in four parts."""
    latents_of(material(), Patches(2), tmp_path / "latents", RT1_ACTIONS, part_episodes=2)
    return tmp_path / "latents"


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_a_sound_cache(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = check_cache(cache)
    assert (found.episodes, found.steps, found.faults) == (7, 49, ())
    assert found.num_bytes == sum(p.stat().st_size for p in cache.glob("*/part-*/*"))
    assert main(["data", "check", f"data={cache}"]) == 0
    said = capsys.readouterr().out
    assert "7 episodes" in said and "49 frames" in said and "0 faults" in said


def test_faults_are_named_and_the_rest_is_counted(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = only(cache)
    flip(folder / "part-00000/latents.npy", -1)
    flip(folder / "part-00001/rows.npz", 200)
    shutil.rmtree(folder / "part-00002")
    (found,) = check_cache(cache)
    assert (found.episodes, found.steps) == (1, 10)
    first, second, third = found.faults
    assert f"{folder}/part-00000/latents.npy is damaged: frames 0 to 8 changed" in first
    assert f"remove {folder}/part-00000 and run again" in first
    assert f"{folder}/part-00001/rows.npz is truncated or damaged" in second
    assert f"{folder}/part-00002 is not there; run the same encoding again" in third
    assert main(["data", "check", f"data={cache}"]) == 1
    assert "has 3 faults:" in capsys.readouterr().err
