"""`selfflow finetune` and `selfflow pretrain` by torchrun: one rank encodes, all train on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches

TINY = ["model=tiny", "trainer.steps=2", "trainer.batch_size=2", "trainer.frames=3"]


def launch(logs: Path, *words: str) -> list[str]:
    """Run a command on two ranks; what each says on standard error."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    torchrun += ["--redirects=3", f"--log-dir={logs}", "-m", "selfflow_robotics.cli.main"]
    done = subprocess.run(
        [sys.executable, *torchrun, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
    )
    said = [next(logs.glob(f"*/attempt_0/{rank}/stderr.log")).read_text() for rank in (0, 1)]
    assert done.returncode == 0, said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("command", ["finetune", "pretrain"])
def test_ranks_without_a_cache_encode_once_and_leave_nothing(tmp_path: Path, command: str) -> None:
    stored.save(Patches(4), tmp_path / "tokenizer")
    words = [command, f"tokenizer={tmp_path / 'tokenizer'}", *TINY]
    if command == "finetune":
        dataset = write_dataset(tmp_path / "data", 25)
        words += [f"data={dataset}", "prior.steps=2"]
    else:
        words += ["physics_episodes=3", "image_size=[16,24]"]
    first, second = launch(tmp_path / "logs", *words, f"out={tmp_path / 'out'}")
    assert "encoding" in first and "encoding" not in second
    assert not (tmp_path / "out/training/latents").exists()
    cached = [f"out={tmp_path / 'other'}", f"cache={tmp_path / 'cache'}"]
    launch(tmp_path / "logs-of-cached", *words, *cached)
    name = "model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
