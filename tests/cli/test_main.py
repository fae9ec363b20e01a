from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfflow_robotics import __version__
from selfflow_robotics.cli.main import commands, main, named_by, normalize


def selfflow(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "selfflow_robotics.cli.main", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_help_lists_each_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, summary in commands().items():
        assert len(summary) > 10, f"{name}: HELP is no plain literal"
        assert summary in text


def test_help_imports_no_heavy_package() -> None:
    code = (
        "import sys; from selfflow_robotics.cli.main import main; main(['--help']);"
        "print([m for m in ('torch', 'mujoco', 'hydra', 'omegaconf', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("command", commands())
def test_help_of_each_command_shows_its_keys(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "Configuration" in text
    assert commands()[command] in text
    keys = text.partition("Configuration")[2].partition("\n\n")[0].splitlines()[1:]
    for line in keys:
        key, kind, meaning = re.split(r"\s{2,}", line.strip())  # each key says what it means
        assert "=" in key and kind and len(meaning) > 3, line


@pytest.mark.parametrize(
    ("words", "normal"),
    [
        (["--json", "a.json", "seed=1"], ["json=a.json", "seed=1"]),
        (["--json=a.json"], ["json=a.json"]),
        (["--num-envs", "4"], ["num_envs=4"]),
        (["--resume", "--seed", "-1"], ["resume=true", "seed=-1"]),
        (["--resume", "trainer.steps=3"], ["resume=true", "trainer.steps=3"]),
        (["--text", "a = b"], ["text=a = b"]),
    ],
)
def test_dashes_mean_the_same_as_keys(words: list[str], normal: list[str]) -> None:
    assert normalize(words) == normal


def test_mistyped_command_is_one_sentence_and_status_2() -> None:
    done = selfflow("doctr")
    assert done.returncode == 2
    assert done.stderr == 'error: there is no command "doctr"; did you mean "doctor"?\n'


def test_a_command_may_have_several_words() -> None:
    known = ["data encode", "data convert rlds", "doctor"]
    assert named_by(["data", "convert", "rlds", "out=a"], known) == "data convert rlds"
    assert named_by(["data", "encode"], known) == "data encode"
    assert named_by(["data"], known) is None


def test_unknown_key_is_one_sentence_and_status_2() -> None:
    done = selfflow("doctor", "jsom=x")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == 'error: "doctor" has no configuration key "jsom"; did you mean "json"?\n'


def test_failure_is_one_sentence_and_status_1_unless_debugging() -> None:
    words = ("doctor", "--config-dir", "/no/such/folder")
    done = selfflow(*words, SELFFLOW_DEBUG="")
    assert done.returncode == 1
    assert done.stderr == "error: --config-dir: there is no folder /no/such/folder\n"
    assert "Traceback" in selfflow(*words, SELFFLOW_DEBUG="1").stderr


def test_nothing_is_imported_from_the_working_folder(tmp_path: Path) -> None:
    for name in ("torch", "hydra", "numpy", "yaml"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('this was imported')\n")
    program = Path(sys.executable).with_name("selfflow")
    for command in ([sys.executable, "-m", "selfflow_robotics.cli.main"], [program]):
        done = subprocess.run(
            [*command, "estimate", "model=tiny"], cwd=tmp_path, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_that_a_library_turns_into_an_error_is_an_interrupt(tmp_path: Path) -> None:
    for error in ("AttributeError", "ValueError"):
        lines = ["import os, signal, time", "try:", "    os.kill(os.getpid(), signal.SIGINT)"]
        lines += ["    time.sleep(10)", "except BaseException:", f"    raise {error}('half there')"]
        (tmp_path / "einops.py").write_text("\n".join(lines))
        done = selfflow("estimate", "model=tiny", PYTHONPATH=str(tmp_path))
        assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_reader_that_has_gone_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "selfflow_robotics.cli.main", "estimate", "model=tiny"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_nothing_to_do_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: selfflow COMMAND" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"selfflow {__version__}\n"


@pytest.mark.skipif(os.name == "nt", reason="no SIGTERM there")
def test_a_terminated_command_leaves_nothing_half_written(tmp_path: Path) -> None:
    words = [f"out={tmp_path / 'set'}", "episodes=100000", "tasks=CloseDrawer", "workers=1"]
    with subprocess.Popen(
        [sys.executable, "-m", "selfflow_robotics.cli.main", "collect", *words],
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".set-*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=60) != 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("selfflow dat", "data"),
        ("selfflow data c", "check convert"),
        ("selfflow finetune trainer.se", "trainer.seed="),
        (
            "selfflow finetune -m objective=s",
            "objective=self_flow objective=shortcut objective=sra",
        ),
        ("selfflow data check data.ma", "data.mapping="),
    ],
)
def test_shells_complete_commands_keys_and_presets(
    line: str, offered: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out == f"{offered}\n"
