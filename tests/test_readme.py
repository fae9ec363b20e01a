"""The README does what it says, and other pages' command lines are understood."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from selfflow_robotics.cli.config import compose, read
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


def command_lines() -> list[str]:
    """What stands after `selfflow` in sentences and in blocks of commands; 1 for a variable."""
    found: list[str] = []
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", *ROOT.glob("docs/*.md")):
        text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        blocks = [text] if name == "Makefile" else re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        found += re.findall(r"`selfflow ([a-z]+[^`]*)`", text)
        for block in blocks:
            lines = re.findall(r"^\s*(?:exec )?(?:\S*/)?selfflow (.*?)(?:'? &&|; *|$)", block, re.M)
            found += [line.replace(" $(ARGS)", "") for line in lines]
    variable = r"\$+\(\([^)]*\)\)|\$+\(\w+\)|\$+\w+"
    return [re.sub(variable, "1", line) for line in dict.fromkeys(found)]


def test_command_lines_are_found_in_all_pages() -> None:
    starts = ("submit finetune device=cuda", "finetune device=cuda", "evaluate policies=[planner]")
    assert all(any(line.startswith(start) for line in command_lines()) for start in starts)
    assert len(command_lines()) > 30


@pytest.mark.parametrize("line", command_lines())
def test_command_lines_are_understood(line: str) -> None:
    words = shlex.split(line)
    command = named_by(words, commands())
    assert command is not None
    rest = words[len(command.split()) :]
    if rest and "--help" not in rest:
        module = importlib.import_module(f"selfflow_robotics.cli.{module_of(command)}")
        if "-m" in rest:
            read(command, module.Config, [word for word in rest if word != "-m"], sweeps=True)
        else:
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
