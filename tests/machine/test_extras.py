from __future__ import annotations

import math
from pathlib import Path

import pytest

from selfflow_robotics.machine.extras import MissingExtraError, require


def test_missing_extra_names_the_command_that_installs_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'selfflow_robotics\[rlds\]'"):
        require("no_such_package.part", "rlds")


def test_present_module_is_returned() -> None:
    assert require("math", "rlds") is math


def test_error_inside_an_installed_package_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_extra.py").write_text("import absent_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="absent_dependency") as error:
        require("broken_extra", "rlds")
    assert not isinstance(error.value, MissingExtraError)
