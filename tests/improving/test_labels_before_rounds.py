"""Rounds whose labels nobody can give do not begin."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.cli.main import main


def test_an_expert_that_fails_is_named_before_the_first_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("selfflow_robotics.policies.steps_left.LONGEST", 2)
    data, out = write_dataset(tmp_path / "data", 4), tmp_path / "out"
    words = [f"out={out}", f"data={data}", "world_model=tabletop-small", "tasks=[CloseDrawer]"]
    assert main(["improve", *words, "trainer.steps=0", "workers=1"]) == 1
    assert "the expert of CloseDrawer solved none of 3 starts" in capsys.readouterr().err
    assert not out.exists()
