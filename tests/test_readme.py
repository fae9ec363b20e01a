"""The README does what it says."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.main import commands, module_of, named_by

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = ROOT / "selfflow_robotics" / "weights" / "tabletop-small"


def test_python_example_runs(tmp_path: Path) -> None:
    if not SHIPPED.is_dir():
        pytest.skip(f"the example loads {SHIPPED.name}, which this checkout lacks")
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", re.findall(r"`selfflow ([a-z]+[^`]*)`", README))
def test_command_lines_are_understood(line: str) -> None:
    words = [word.strip('"') for word in re.findall(r'(?:[^\s"]|"[^"]*")+', line)]
    command = named_by(words, commands())
    assert command is not None
    rest = words[len(command.split()) :]
    if rest and "--help" not in rest:
        module = importlib.import_module(f"selfflow_robotics.cli.{module_of(command)}")
        compose(command, module.Config, rest)


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in commands() if f"`selfflow {name}" not in README]
    assert not missing


@pytest.mark.parametrize("target", re.findall(r"make ([a-z-]+)", README))
def test_make_targets_exist(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
