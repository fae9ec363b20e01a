"""Training as a job of submitit, on its executor for this machine."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

submitit = pytest.importorskip("submitit", reason="needs the extra [slurm]")

from selfflow_robotics.cli.config import compose  # noqa: E402
from selfflow_robotics.cli.main import main  # noqa: E402
from selfflow_robotics.cli.pretrain import run  # noqa: E402
from selfflow_robotics.cli.submit_pretrain import Config  # noqa: E402
from selfflow_robotics.tokenizers import stored  # noqa: E402
from selfflow_robotics.tokenizers.patches import Patches  # noqa: E402
from selfflow_robotics.training.slurm_job import submit  # noqa: E402


def queued(folder: Path, *words: str) -> tuple[Any, Path]:
    stored.save(Patches(4), folder / "tokenizer")
    output = folder / "out"
    given = [f"out={output}", f"tokenizer={folder / 'tokenizer'}", "physics_episodes=2"]
    given += ["image_size=[16,24]", "model=tiny", "trainer.batch_size=2", "trainer.frames=3"]
    given += ["slurm.cluster=local", "slurm.gpus_per_node=0", *words]
    config = compose("submit pretrain", Config, given)
    return submit("test", run, config, config.out, config.slurm), output


def saved(output: Path) -> list[int]:
    found = output.glob("training/checkpoints/step-*/.metadata")
    return sorted(int(path.parent.name.removeprefix("step-")) for path in found)


@pytest.mark.slow
def test_a_job_whose_time_is_up_saves_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    job, output = queued(tmp_path, "trainer.steps=120", "trainer.save_every=10")
    until = time.monotonic() + 200
    while not saved(output):
        assert time.monotonic() < until and job.state != "FAILED", job.stderr()
        time.sleep(0.05)
    assert not (output / "model.safetensors").exists()
    # submitit's process on this machine, and its child that trains, as Slurm has one a task.
    (task,) = Path(f"/proc/{job.job_id}/task/{job.job_id}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)
    assert job.result() == 0
    said = job.stdout()
    assert "asked to stop: saved step" in said and f"wrote {output}" in said
    assert said.index("asked to stop") < said.index("wrote")
    assert (output / "model.safetensors").exists() and saved(output)[-1] == 120
    assert "Requeued job" in said + job.stderr()


def test_a_job_that_fails_says_so(tmp_path: Path) -> None:
    job, _ = queued(tmp_path, "trainer.steps=3", "trainer.frames=999")
    with pytest.raises(submitit.core.utils.FailedJobError, match="no episode has 999 frames"):
        job.result()


def test_what_cannot_be_queued_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [f"out={tmp_path / 'out'}", f"tokenizer={tmp_path}", "physics_episodes=2"]
    assert main(["submit", "pretrain", *words, "slurm.hours=0.01"]) == 1
    assert "a job of 0.01 hours" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert main(["submit", "pretrain", *words]) == 1
    assert "there is no Slurm here" in capsys.readouterr().err
    assert main(["submit", "pretrain", *words, "slurm.node=2"]) == 2
    assert 'did you mean "slurm.nodes"?' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
