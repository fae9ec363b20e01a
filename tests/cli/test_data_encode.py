"""`selfflow data encode`, and training on what it wrote."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_dataset import write_dataset
from videos import write_shard, write_video

from selfflow_robotics.cli.main import main
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

TINY = ["model=tiny", "trainer.steps=3", "trainer.batch_size=2", "trainer.frames=3"]
FAST = ["workers=0"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tokenizer"
    stored.save(Patches(4), folder)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "train", 25)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_finetune_trains_on_what_was_encoded(
    dataset: Path, tokenizer: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "latents"
    words = [f"out={out}", f"data={dataset}", f"tokenizer={tokenizer}", "part=10", *FAST]
    assert main(["data", "encode", *words]) == 0
    said = capfd.readouterr()
    assert re.search(r":train train: 23 episodes, 138 latent frames of \(48, 4, 6\)", said.out)
    before = files(out)
    given = [f"data={dataset}", f"tokenizer={tokenizer}", f"cache={out}", "prior.steps=2"]
    assert main(["finetune", f"out={tmp_path / 'out'}", *given, *TINY]) == 0
    assert files(out) == before
    assert "encoding" not in capfd.readouterr().err


def test_a_models_folder_goes_on_with_the_latents_it_was_trained_on(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    stored.save(Patches(4, std=0.3456789), tmp_path / "tokenizer")
    cache, first = tmp_path / "latents", tmp_path / "first"
    given = [f"data.path=[{dataset}]", f"cache={cache}", "prior.steps=0", *TINY]
    words = [f"out={first}", f"tokenizer={tmp_path / 'tokenizer'}"]
    assert main(["finetune", *words, *given]) == 0
    capfd.readouterr()
    assert main(["finetune", f"out={tmp_path / 'second'}", f"start={first}", *given]) == 0
    words = [f"out={cache}", f"data={dataset}", f"tokenizer={first}", *FAST]
    assert main(["data", "encode", *words]) == 0
    assert "encoding" not in capfd.readouterr().err


def test_another_tokenizer_is_refused(
    dataset: Path, tokenizer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"out={tmp_path / 'latents'}", f"data={dataset}", *FAST]
    assert main(["data", "encode", *words, f"tokenizer={tokenizer}"]) == 0
    stored.save(Patches(4, std=0.4), tmp_path / "other")
    assert main(["data", "encode", *words, f"tokenizer={tmp_path / 'other'}"]) == 1
    assert "is stale, it was encoded with another tokenizer.weights" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_videos_and_shards_are_decoded_and_broken_ones_named(
    tokenizer: Path, tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in "abc":
        write_video(videos / f"{name}.mp4")
    content = (videos / "a.mp4").read_bytes()
    write_shard(tmp_path / "v.tar", {"a.mp4": content, "b.mp4": content, "c.mp4": content[:900]})
    words = [f"tokenizer={tokenizer}", "frames=8", "image_size=[16,24]", "part=2"]
    words += [f"workers={workers}", "max_broken=0.4", f"out={tmp_path / 'latents'}"]
    assert main(["data", "encode", *words, f"videos={videos}"]) == 0
    assert "9 episodes, 60 latent frames of (48, 4, 6)" in capsys.readouterr().out
    assert main(["data", "encode", *words, f"videos={tmp_path / 'v.tar'}"]) == 0
    said = capsys.readouterr().out
    assert "6 episodes, 40 latent frames" in said
    assert f"left out {tmp_path}/v.tar/c.mp4: " in said
    # Pretraining reads them.
    given = [f"out={tmp_path / 'out'}", f"videos={videos}", f"cache={tmp_path / 'latents'}"]
    given += [f"tokenizer={tokenizer}", "frames=8", "image_size=[16,24]", "max_broken=0.4", *TINY]
    before = files(tmp_path / "latents")
    assert main(["pretrain", *given]) == 0
    assert files(tmp_path / "latents") == before


@pytest.mark.slow
def test_killed_command_resumes_with_the_same_bytes(
    dataset: Path, tokenizer: Path, tmp_path: Path
) -> None:
    def command(out: str, workers: int) -> list[str]:
        words = [f"out={tmp_path / out}", f"data={dataset}", f"tokenizer={tokenizer}", "part=1"]
        program = [sys.executable, "-m", "selfflow_robotics.cli.main", "data", "encode"]
        return [*program, *words, f"workers={workers}"]

    assert subprocess.run(command("whole", 0), capture_output=True).returncode == 0
    whole = files(tmp_path / "whole")
    process = subprocess.Popen(command("killed", 2), stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(tmp_path.glob("killed/*/part-*"))) < 3:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(list(tmp_path.glob("killed/*/part-*"))) < 25
    assert subprocess.run(command("killed", 0), capture_output=True).returncode == 0
    assert files(tmp_path / "killed") == whole


@pytest.mark.slow
def test_ray_gives_the_same_bytes(dataset: Path, tokenizer: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs the extra [ray]")
    words = [f"data={dataset}", f"tokenizer={tokenizer}", "part=10", *FAST]
    assert main(["data", "encode", *words, f"out={tmp_path / 'here'}"]) == 0
    assert main(["data", "encode", *words, f"out={tmp_path / 'ray'}", "ray=local"]) == 0
    assert files(tmp_path / "here") == files(tmp_path / "ray")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "there is nothing to encode: add data=FOLDER"),
        (["videos={dataset}"], "holds no video file"),
    ],
)
def test_what_is_missing_is_one_sentence(
    dataset: Path,
    tokenizer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    sentence: str,
) -> None:
    given = [word.format(dataset=dataset) for word in words]
    where = [f"out={tmp_path / 'latents'}", f"tokenizer={tokenizer}"]
    assert main(["data", "encode", *where, *given, *FAST]) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
