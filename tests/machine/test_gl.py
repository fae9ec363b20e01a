"""The choice of an OpenGL library."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from selfflow_robotics.machine.gl import choose_gl

linux = pytest.mark.skipif(platform.system() != "Linux", reason="other systems always have one")


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)


def test_what_the_user_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "OSMesa")
    assert choose_gl() == "osmesa"


def test_a_back_end_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "elg")
    with pytest.raises(RuntimeError, match='no back end MUJOCO_GL=elg; choose "egl"'):
        choose_gl()


def test_drawing_turned_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(RuntimeError, match="unset MUJOCO_GL"):
        choose_gl()


@linux
def test_machine_without_gl_says_what_to_install(
    headless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(name: str, **_: object) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", nothing)
    with pytest.raises(RuntimeError, match="sudo apt-get install"):
        choose_gl()
    assert "MUJOCO_GL" not in os.environ


@linux
def test_mujoco_imported_too_early_is_an_error(
    headless: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="before mujoco"):
        choose_gl()


@linux
def test_it_is_quick_and_imports_neither_mujoco_nor_torch(headless: None) -> None:
    program = (
        "import sys; from selfflow_robotics.machine.gl import choose_gl; print(choose_gl()); "
        "assert not {'mujoco', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    if "no OpenGL library" in done.stderr:
        pytest.skip("no OpenGL library loads on this machine")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("egl", "osmesa")
