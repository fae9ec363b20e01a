"""Commands say what a user can use, and nothing of the libraries beneath them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_dataset import write_dataset

from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches

TINY = ["model=tiny", "trainer.steps=2", "trainer.batch_size=2", "trainer.frames=3"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    write_dataset(folder / "data", 25)
    stored.save(Patches(4), folder / "tokenizer")
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "data check data=data workers=1",
        "data encode out=latents data=data tokenizer=tokenizer workers=2",
        f"finetune out=world data=data tokenizer=tokenizer prior.steps=2 {' '.join(TINY)}",
        "evaluate out=evaluated tasks=CloseDrawer policies=zero episodes=1 data=data",
    ],
)
def test_no_warnings_of_libraries(line: str, material: Path) -> None:
    command = [sys.executable, "-m", "selfflow_robotics.cli.main", *line.split()]
    done = subprocess.run(command, cwd=material, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    bar = re.compile(r"^.*: +\d+%\|.*\]|^(encode|export|training|evaluate).*\]$")
    said = [text for text in re.split(r"[\r\n]", done.stderr) if text.strip()]
    assert [text for text in said if not bar.match(text.strip())] == []
