"""Names of tables and of users' own: found in the working folder, or a sentence says why not."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from selfflow_robotics.registry import import_own, named
from selfflow_robotics.storage.typed_yaml import ConfigError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def test_modules_of_the_working_folder_are_found(folder: Path) -> None:
    (folder / "mine_alone.py").write_text("value = 1\n")
    (folder / "mine_group").mkdir()
    (folder / "mine_group" / "tasks.py").write_text("import mine_alone\n")
    for name in ("mine_alone", "mine_group.tasks"):
        import_own(name, "imports")
    assert sys.modules["mine_alone"].value == 1
    assert "mine_group.tasks" in sys.modules


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("mine_absent", None, "there is no module mine_absent in"),
        ("mine_deep.absent", None, "there is no module mine_deep in"),
        ("mine_needs", "import not_installed_at_all\n", "needs a module: .*not_installed_at_all"),
        ("mine_syntax", "def f(:\n", "fails while it is imported: SyntaxError"),
        ("mine_raises", "1 / 0\n", "fails while it is imported: ZeroDivisionError"),
        ("mine_leaves", "import sys\nsys.exit('bye')\n", "imported: SystemExit: bye"),
        ("mine_lacks", "from os import nothing\n", "imported: ImportError: .*nothing"),
        ("mine.py", None, "give the name of a module.*no .py"),
        ("../mine", None, "give the name of a module"),
        ("", None, "give the name of a module"),
    ],
)
def test_what_cannot_be_imported_is_said(
    name: str, content: str | None, said: str, folder: Path
) -> None:
    if content is not None:
        (folder / f"{name}.py").write_text(content)
    with pytest.raises(ConfigError, match=rf"(?s)^imports={name}.*{said}"):
        import_own(name, "imports")


@pytest.mark.parametrize("started", ["-m selfflow_robotics.cli.main", "-c"])
def test_found_however_the_command_is_started(started: str, tmp_path: Path) -> None:
    """A module that registers nothing: the command gets as far as the unknown task."""
    (tmp_path / "mine_started.py").write_text("print('imported', __name__)\n")
    words = ["evaluate", "imports=mine_started", "tasks=mine/None-v0", "policies=random"]
    code = f"from selfflow_robotics.cli.main import main; main({words!r})"
    command = [sys.executable, *started.split(), *([code] if started == "-c" else words)]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "imported mine_started" in run.stdout
    assert 'there is no task "mine/None-v0"' in run.stderr


THERE = {"counter": "collections:Counter"}


def test_a_name_is_of_the_table_or_a_class_of_ones_own(folder: Path) -> None:
    (folder / "mine_kinds.py").write_text("class Mine(dict): ...\nthing = 3\n")
    assert named("counter", THERE, "kind") is Counter
    assert named("mine_kinds:Mine", THERE, "kind", dict).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("conter", 'kind: there is no "conter"; did you mean "counter".? choose from counter, or'),
        ("collections.Counter", "kind: there is no .*module:Class"),
        ("mine_none:Mine", "there is no module mine_none in"),
        ("collections:Mine", "the module collections has no class 'Mine'"),
        ("collections:", "the module collections has no class ''"),
        (":Counter", "give the name of a module"),
        ("a.py:Mine", "give the name of a module"),
        ("collections:OrderedDict", "is no class derived from Counter but <class"),
        ("collections:namedtuple", "is no class derived from Counter but <function"),
    ],
)
def test_what_is_no_name_is_said(name: str, said: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        named(name, THERE, "kind", Counter)
