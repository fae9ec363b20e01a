"""What an install brings: one name in site-packages, with everything that the package needs."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("configs", "envs", "policies")


def run(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PATH": "", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def packaged_files() -> dict[str, Path]:
    """What the sources say has to be in the wheel, by its name there."""
    found = {}
    for folder in ("selfflow_robotics", *MAPPED):
        target = folder if folder not in MAPPED else f"selfflow_robotics/{folder}"
        for path in (ROOT / folder).rglob("*"):
            kept = path.suffix in (".py", ".yaml", ".typed", ".safetensors", ".xml", ".json")
            if kept and path.is_file() and "__pycache__" not in path.parts:
                found[f"{target}/{path.relative_to(ROOT / folder).as_posix()}"] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the checkout stays as it is."""
    pytest.importorskip("setuptools", "77", reason="building a wheel needs setuptools 77 or newer")
    source = tmp_path_factory.mktemp("source")
    output = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("selfflow_robotics", *MAPPED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(f"from setuptools import build_meta; build_meta.build_wheel({str(output)!r})", source)
    (built,) = output.glob("*.whl")
    return built


def test_wheel_adds_one_name_and_has_every_file(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"selfflow_robotics"}
    assert "selfflow_robotics/py.typed" in names
    missing = sorted(set(packaged_files()) - names)
    assert not missing, f"add them to [tool.setuptools] in pyproject.toml: {missing}"


def test_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < 24 * 2**20, "the shipped weights are to be at most 16 MiB"


def test_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import importlib, importlib.resources as r, sys; from selfflow_robotics.cli import main;"
        "[importlib.import_module('selfflow_robotics.' + n) for n in ('configs', 'policies')];"
        "print(main.__file__); print(r.files('selfflow_robotics.configs'));"
        "sys.exit(main.main(['pretrain', '--help']))"
    )
    lines = run(code, tmp_path, PYTHONPATH=str(tmp_path)).splitlines()
    assert Path(lines[0]).is_relative_to(tmp_path) and Path(lines[1]).is_relative_to(tmp_path)
    assert any("model=" in line and "small" in line for line in lines)


def test_editable_install_finds_the_mapped_folders(tmp_path: Path) -> None:
    found = run("import selfflow_robotics as s; print(s.__file__)", tmp_path)
    if Path(found).parent != ROOT / "selfflow_robotics":
        pytest.skip(f"selfflow_robotics is not installed from this checkout but from {found}")
    for name in MAPPED:
        code = (
            f"import importlib.util as u; print(u.find_spec('selfflow_robotics.{name}').origin);"
            f"print(u.find_spec('{name}'))"
        )
        origin, bare = run(code, tmp_path).splitlines()
        assert Path(origin) == ROOT / name / "__init__.py"
        assert bare == "None", f"{name} must not be a top-level package"


def test_package_is_importable_in_no_time_and_lazy(tmp_path: Path) -> None:
    code = (
        "import sys, selfflow_robotics as s; assert 'torch' not in sys.modules;"
        "print(*[getattr(s, name) for name in s.__all__], sep='\\n')"
    )
    shown = run(code, tmp_path)
    for name in ("WorldModel", "CEM", "GoalImage", "Progress"):
        assert name in shown


def test_every_imported_package_is_declared() -> None:
    toml = pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    project = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = sum(project["optional-dependencies"].values(), project["dependencies"])
    declared = {
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
        for requirement in requirements
    }
    homes = importlib.metadata.packages_distributions()
    undeclared = {}
    for path in packaged_files().values():
        if path.suffix != ".py":
            continue
        pattern = r"^\s*(?:import|from) ([A-Za-z_]\w*)"
        for top in re.findall(pattern, path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if top in sys.stdlib_module_names or top == "selfflow_robotics":
                continue
            homes_of_top = {name.lower().replace("_", "-") for name in homes.get(top, [])}
            if homes_of_top and not homes_of_top & declared:
                undeclared[top] = str(path.relative_to(ROOT))
    assert not undeclared, f"add to dependencies or an extra in pyproject.toml: {undeclared}"
