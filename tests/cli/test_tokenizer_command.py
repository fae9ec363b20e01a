"""`selfflow tokenizer`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from selfflow_robotics.envs.physics_video import PhysicsVideo

from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.tokenizer import Config, run
from selfflow_robotics.tokenizers import Autoencoder
from selfflow_robotics.tokenizers.stored import load

QUICK = ["physics_episodes=12", "steps=2", "batch_size=2", "channels=4", "widths=[8,8,8]"]


def configured(output: Path, *words: str) -> Config:
    return compose("tokenizer", Config, [f"out={output}", *QUICK, *words])


def test_it_writes_a_tokenizer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(configured(tmp_path / "t")) == 0
    assert Autoencoder.from_pretrained(tmp_path / "t").channels == 4
    assert "PSNR" in capsys.readouterr().out


def test_it_continues_from_another(tmp_path: Path) -> None:
    run(configured(tmp_path / "a"))
    run(configured(tmp_path / "b", f"start={tmp_path / 'a'}", "channels=7"))
    assert Autoencoder.from_pretrained(tmp_path / "b").channels == 4


def test_patches_are_scaled_to_the_frames(tmp_path: Path) -> None:
    run(configured(tmp_path / "t", "kind=patches", "factor=4"))
    patches = load(tmp_path / "t")
    frames = PhysicsVideo(12, 24, (64, 80), seed=0)[0].images
    latents = patches.encode(torch.from_numpy(frames))
    assert latents.shape[1:] == (48, 16, 20)
    assert abs(float(latents.mean())) < 0.7 and 0.3 < float(latents.std()) < 2.0
    assert torch.equal(patches.decode(latents), torch.from_numpy(frames))


def test_no_frames_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="add data=FOLDER"):
        run(configured(tmp_path / "t", "physics_episodes=0"))


def test_size_that_does_not_divide_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        run(configured(tmp_path / "t", "image_size=[60,80]"))
    assert not list(tmp_path.iterdir())


def test_absent_data_set_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run(configured(tmp_path / "t", f"data={tmp_path / 'nowhere'}"))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write")
def test_what_was_trained_is_kept_where_it_cannot_be_written_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(OSError, match=r"trained is kept in .*selfflow-tokenizer-.*: move it to"):
        run(configured(Path("/proc/nobody-writes-here/t")))
    (kept,) = tmp_path.iterdir()
    assert Autoencoder.from_pretrained(kept).channels == 4


def test_a_folder_of_other_things_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(FileExistsError, match=r"it holds thesis\.tex"):
        run(configured(tmp_path, "steps=100000000"))
