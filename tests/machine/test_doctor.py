from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfflow_robotics.cli.doctor import Config, run
from selfflow_robotics.machine.doctor import EXTRAS, damaged_files, diagnose


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfflow_robotics.cli.main", "doctor", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_everything_that_the_core_needs_works_here() -> None:
    findings = {finding.name: finding for finding in diagnose()}
    for name in ("python", "torch", "drawing", "video"):
        assert findings[name].ok, findings[name]
    assert {f"extra [{extra}]" for extra in EXTRAS} <= set(findings)
    assert all(finding.remedy for finding in findings.values() if not finding.ok)


def test_it_knows_every_extra() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    section = pyproject.read_text().partition("[project.optional-dependencies]")[2]
    assert set(re.findall(r"^(\w+) = ", section.partition("\n[")[0], re.MULTILINE)) == set(EXTRAS)


def test_status_says_whether_the_core_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(Config(json=tmp_path / "findings.json"))
    findings = json.loads((tmp_path / "findings.json").read_text())
    assert status == (0 if all(found["ok"] for found in findings if found["core"]) else 1)
    assert len(capsys.readouterr().out.splitlines()) == len(findings)


def test_unknown_gl_back_end_is_one_line_with_its_remedy() -> None:
    done = doctor(MUJOCO_GL="nonexistent")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "drawing" in line]
    assert line.startswith("BROKEN")
    assert "MUJOCO_GL=nonexistent" in line and "unset MUJOCO_GL" in line


def test_damaged_or_absent_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert damaged_files(tmp_path) == ["SHA256SUMS"]
    (tmp_path / "SHA256SUMS").write_text(
        f"{hashlib.sha256(b'{}').hexdigest()}  config.json\n"
        f"{hashlib.sha256(b'weights').hexdigest()}  model.safetensors\n"
    )
    assert damaged_files(tmp_path) == []
    (tmp_path / "model.safetensors").write_bytes(b"weight")
    assert damaged_files(tmp_path) == ["model.safetensors"]
    (tmp_path / "config.json").unlink()
    assert damaged_files(tmp_path) == ["config.json", "model.safetensors"]
