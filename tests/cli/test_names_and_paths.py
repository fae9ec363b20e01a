"""One name for one thing in every command, and any path that a shell hands over."""

from __future__ import annotations

import dataclasses
import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from selfflow_robotics.cli.config import compose
from selfflow_robotics.cli.main import COMMANDS, main, module_of
from selfflow_robotics.storage.typed_yaml import ConfigError

ODD = [
    "/d/a b",
    "/d/a=b",
    "/d/a(b)",
    "/d/it's",
    '/d/a"b',
    "/d/a#1",
    "/d/a@b",
    "/d/a:b",
    "/d/a%20b",
    "/d/a&b",
    "/d/a+b",
    "/d/a,b",
    "/d/a{b}",
    "/d/a[1]",
    "[a",
    "a]",
    "/d/é ü 數據",
    "/d/a~b",
    "~nobody-of-this-name",
    "/d/$x",
    "/d/${b}",
    r"/d/\${b}\\${c}\d",
    "/d/a!b",
    "/d/a;b",
    "/d/a*?b",
    "/d/a\tb\nc",
    "7",
    "1e3",
    "-1",
    "true",
    "2024-01-01",
    "12:30:00",
    "epoch=9.ckpt",
    "...",
]


def configured(command: str, *words: str) -> Any:
    module = importlib.import_module(f"selfflow_robotics.cli.{module_of(command)}")
    return compose(command, module.Config, words)


@pytest.mark.parametrize("name", ODD)
def test_a_path_arrives_as_it_was_typed(name: str) -> None:
    config = configured("finetune", f"out={name}", f"data={name}", f"start={name}")
    assert [config.out, config.start, *config.data.path] == [Path(name)] * 3
    quoted = f'"{name}"' if "'" in name else f"'{name}'"
    config = configured("finetune", "out=o", f"data.path=[/d/x,{quoted}]")
    assert config.data.path == [Path("/d/x"), Path(name)]


@pytest.mark.parametrize("name", [*ODD, "gs://bucket/rt1/0.1.0", "s3://b/a=1/é"])
def test_a_url_arrives_as_it_was_typed(name: str) -> None:
    config = configured("data convert rlds", "out=o", f"data={name}")
    assert config.data.path == [name]
    assert configured("probe", f"world_model={name}").world_model == name
    assert configured("pretrain", "out=o", "tokenizer=t", f"videos={name}").videos == name


def test_several_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def paths(text: str) -> list[str]:
        return [str(path) for path in configured("finetune", "out=o", f"data={text}").data.path]

    assert paths("[a b,/d/é]") == paths("[ a b , /d/é ]") == ["a b", "/d/é"]
    assert paths("""["a,b",it's,'c,d']""") == ["a,b", "it's", "c,d"]
    assert paths("") == paths("[]") == []
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "[c,d]"):
        (tmp_path / name).mkdir()
    assert paths("a,b") == ["a", "b"]  # both are there
    assert paths("a,x") == ["a,x"]
    assert paths("[c,d]") == ["[c,d]"]  # a name that is there
    assert paths("~/e") == [os.path.expanduser("~/e")]


def test_words_may_hold_any_letter() -> None:
    assert configured("evaluate", "tasks=[café/A-v0,B (2)]").tasks == ("café/A-v0", "B (2)")
    assert configured("evaluate", "imports=mine,yours").imports == ("mine", "yours")


OLDER = [
    ("tokenizer", "output=a", "out", "out"),
    ("pretrain", "output=a", "out", "out"),
    ("finetune", "output=a", "out", "out"),
    ("submit pretrain", "output=a", "out", "out"),
    ("submit finetune", "output=a", "out", "out"),
    ("data check", "path=a", "data.path", "path"),
    ("data check", "mapping=a", "data.mapping", "mapping"),
    ("data convert rlds", "source=a", "data.path", "path"),
    ("data convert rlds", "mapping=a", "data.mapping", "mapping"),
    ("data export lerobot", "source=a", "data.path", "path"),
    ("data export lerobot", "mapping=a", "data.mapping", "mapping"),
    ("data export lerobot", "split=a", "data.split", "split"),
    ("data encode", "mapping=a", "data.mapping", "mapping"),
    ("data encode", "split=a", "data.split", "split"),
    ("tokenizer", "mapping=a", "data.mapping", "mapping"),
    ("tokenizer", "split=a", "data.split", "split"),
    ("rollout", "mapping=a", "data.mapping", "mapping"),
    ("rollout", "split=a", "data.split", "split"),
]


@pytest.mark.parametrize(("command", "word", "today", "attribute"), OLDER)
def test_an_older_name_goes_on_working_and_says_the_new_one(
    command: str, word: str, today: str, attribute: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = {"data encode": ["out=o", "tokenizer=t"], "pretrain": ["tokenizer=t"]}
    needed["submit pretrain"] = needed["pretrain"]
    wants_out = "out" not in today and command not in ("data check", "rollout", "data encode")
    found = configured(command, word, *needed.get(command, []), *["out=o"] * wants_out)
    section = found.data if today.startswith("data") else found
    value = getattr(section, attribute)
    assert str(value[0] if isinstance(value, list) else value) == "a"
    said = capsys.readouterr()
    older = word.partition("=")[0]
    assert said.err == f'"{older}" is now called "{today}": write {today}=...\n'
    assert said.out == ""


def test_finetunes_configuration_answers_to_the_older_name() -> None:
    assert configured("finetune", "out=a").output == Path("a")


def test_a_preset_of_the_data_comes_before_a_folder_of_that_name(tmp_path: Path) -> None:
    from selfflow_robotics.cli.probe import Config

    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("path: [/d/mine]\nmapping: bridge\n")
    found = compose("probe", Config, ["data=mine"], tmp_path).data
    assert (found.path, found.mapping) == ([Path("/d/mine")], "bridge")
    found = compose("probe", Config, ["data=other"], tmp_path).data
    assert (found.path, found.mapping) == ([Path("other")], "rt1")


@pytest.mark.parametrize(
    "command", ["data check", "data convert rlds out=o", "data export lerobot out=o", "probe"]
)
def test_a_command_of_one_data_set_says_so(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command.split()
    assert main([*words, "data=[a,b]"]) == 2
    assert "one data set at a time, and data.path names 2: a, b" in capsys.readouterr().err
    assert main(words) == 2
    assert "add data=FOLDER" in capsys.readouterr().err


def test_every_command_writes_to_out_and_reads_data() -> None:
    for command in COMMANDS:
        module = importlib.import_module(f"selfflow_robotics.cli.{module_of(command)}")
        names = {item.name for item in dataclasses.fields(module.Config)}
        assert not names & {"output", "path", "source", "split"}, command


def test_a_mapping_at_the_top_is_of_a_simulators_observations() -> None:
    from selfflow_robotics.envs.mapping import EnvMapping

    assert isinstance(configured("evaluate", "mapping.text=reach").mapping, EnvMapping)
    with pytest.raises(ConfigError, match="mapping"):
        configured("evaluate", "mapping=bridge")
