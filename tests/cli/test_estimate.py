"""`selfflow estimate` as a user calls it."""

from __future__ import annotations

import re

import pytest

from selfflow_robotics.cli.main import main


def test_the_largest_model_is_estimated_in_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=XL", "image_size=[256,320]", "factor=16", "channels=48", "words=30", "gpus=8"]
    assert main(["estimate", *words, "trainer.frames=4", "trainer.batch_size=64"]) == 0
    said = capsys.readouterr().out
    assert "parameters  677," in said
    assert "GiB on each GPU at the peak" in said


def test_of_a_cpu_it_is_the_memory_of_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """XL: 13.5 GB of weights, gradients, moments and average."""
    words = ["device=cpu", "model=XL", "trainer.batch_size=2", "trainer.frames=3"]
    assert main(["estimate", *words, "trainer.precision=fp32"]) == 0
    said = capsys.readouterr().out
    found = re.search(r"memory +([\d.]+) GiB of each process at the peak", said)
    assert found is not None and 13.5 < float(found[1]) * 2**30 / 1e9 < 16.5
    assert "program" in said


def test_a_batch_that_does_not_divide_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "model=tiny", "gpus=3", "trainer.batch_size=64"]) == 1
    assert "64 clips does not divide over 3 GPUs" in capsys.readouterr().err
