"""Configuration of a command: dataclasses say what the keys are, YAML files preset them.

A command is a module `selfflow_robotics/cli/<command>.py` with three names::

    HELP = \"\"\"Train a world model.

    Reads the data set named by data.path; writes checkpoints and curves under out.
    \"\"\"

    @dataclass(frozen=True)
    class Config:
        out: Path                                            # no default: the user must give it
        steps: int = field(default=1000, metadata={"help": "optimizer steps"})
        objective: Literal["self-flow", "flow"] = "self-flow"
        size: tuple[int, int] = (64, 80)
        seed: int | None = None
        model: ModelConfig = field(default_factory=ModelConfig)   # a section, perhaps a group

    def run(config: Config) -> int:                          # the exit status
        ...

`HELP` is a plain string literal (its first line appears in `selfflow --help`, which reads it
without importing the module). A field is a bool, int, float, str, Path, Enum, Literal, another
dataclass, `X | None` and other unions, tuple[...], list[...], dict[str, ...].

The user writes `selfflow train out=runs/a model.depth=4`. That needs no file. Presets do:

* `configs/<command>.yaml`, when it is there, overrides the dataclass' defaults.
* `configs/<group>/<choice>.yaml` is a preset for the section `<group>`: the field of that name in
  `Config`, whose type is a dataclass. `configs/model/small.yaml` holds bare keys (`depth: 4`), and
  `model=small` picks it. `configs/<command>.yaml` says which preset is the default one, in Hydra's
  words::

      defaults:
        - model: small
        - _self_

A section may have one key that is meant by the section's name alone: a field with the metadata
`"main": True`. `data=FOLDER` is then `data.path=FOLDER`, unless a preset has that name. A key that
was called otherwise before lists its former names, `"was": ("output",)`: they go on working, and
say so.

Numbers are finite and from 0 on, unless their field's metadata says otherwise; see
`selfflow_robotics.cli.ranges`.

Single keys given on the command line win over presets, presets over the dataclass. Every key of
every YAML file is checked against the dataclass too. `--config-dir DIR` adds a folder of the user's
own to the presets shipped here.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from selfflow_robotics.cli.presets import PRESETS, choices_of, first_line, merged, preset_named
from selfflow_robotics.cli.ranges import require_in_range
from selfflow_robotics.storage.typed_yaml import (
    ConfigError,
    build,
    escaped,
    holds_text,
    nearest,
    parse,
    show,
    type_name,
)

__all__ = ["ConfigError", "Key", "compose", "describe", "nearest"]

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a configuration, for the help text."""

    name: str
    type: str
    default: Any
    help: str


def compose(
    command: str,
    schema: type[ConfigT],
    arguments: Sequence[str] = (),
    config_dir: Path | None = None,
    presets: str = PRESETS,
) -> ConfigT:
    """The configuration of one run.

    Args:
        command: name of the command, as in `selfflow COMMAND`.
        schema: the command's dataclass.
        arguments: `key=value` and `group=choice` words.
        config_dir: a folder with presets of the user's own, beside the shipped ones.
        presets: the package that holds the shipped ones.

    Returns:
        An instance of `schema`.

    Raises:
        ConfigError: an unknown key or choice (the nearest right one is named), a value of the wrong
            type or out of its range, a required key without a value.
    """
    choices: dict[str, str] = {}
    values: dict[str, Any] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f'"{argument}" is not of the form key=value')
        name = _name_today(schema, name)
        annotation = _annotation(schema, name, command)
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            main = _main_key(annotation)
            if main is None or text in choices_of(name, config_dir, presets):
                choices[name] = preset_named(name, text, annotation, config_dir, presets)
                continue
            name = f"{name}.{main}"
            annotation = _annotation(schema, name, command)
        values[name] = parse(name, text, annotation)
        if holds_text(annotation):
            values[name] = escaped(values[name])
    try:
        tree = OmegaConf.create(_defaults(schema))
        tree.merge_with(merged(command, choices, config_dir, presets))
        for name, value in values.items():
            OmegaConf.update(tree, name, value, force_add=True)
        content = OmegaConf.to_container(tree, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(first_line(error)) from error
    config = build(content, schema, "", f'"selfflow {command}"')
    assert isinstance(config, schema)
    require_in_range(config)
    return config


def describe(
    command: str, schema: type[Any], config_dir: Path | None = None, presets: str = PRESETS
) -> str:
    """The resolved default configuration, one key a line with its type, then the groups."""
    tree = OmegaConf.create(_defaults(schema))
    tree.merge_with(merged(command, {}, config_dir, presets))
    rows = [(f"{key.name}={key.default}", key.type, key.help) for key in _keys(schema, tree)]
    left = max((len(row[0]) for row in rows if len(row[0]) <= 40), default=0)
    middle = max((len(row[1]) for row in rows if len(row[1]) <= 30), default=0)
    lines = [f"  {key:{left}}  {kind:{middle}}  {text}".rstrip() for key, kind, text in rows]
    groups = []
    for field in dataclasses.fields(schema):
        found = choices_of(field.name, config_dir, presets)
        if found and dataclasses.is_dataclass(typing.get_type_hints(schema)[field.name]):
            groups.append(f"  {field.name}={'|'.join(found)}")
    text = "Configuration (key=value, with its default):\n" + "\n".join(lines or ["  (no keys)"])
    if groups:
        text += "\n\nPresets (group=choice, sets a whole section):\n" + "\n".join(groups)
    return text


def _annotation(schema: type[Any], name: str, command: str) -> Any:
    """The declared type of the key called `name`, which may be dotted."""
    annotation: Any = schema
    walked: list[str] = []
    for part in name.split("."):
        if typing.get_origin(annotation) is dict:
            annotation = typing.get_args(annotation)[1]
        elif dataclasses.is_dataclass(annotation) and part in (
            hints := typing.get_type_hints(annotation)
        ):
            annotation = hints[part]
        else:
            raise _unknown_key(schema, name, command)
        walked.append(part)
    return annotation


def _name_today(schema: type[Any], name: str) -> str:
    """The key that is meant by `name`, which may be one that it had before."""
    if name.partition(".")[0] in (field.name for field in dataclasses.fields(schema)):
        return name
    today = dict(_former_names(schema)).get(name)
    if today is None:
        return name
    print(f'"{name}" is now called "{today}": write {today}=...', file=sys.stderr)
    return today


def _former_names(schema: type[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        name = prefix + field.name
        for former in field.metadata.get("was", ()):
            yield former, name
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _former_names(hints[field.name], f"{name}.")


def _main_key(section: Any) -> str | None:
    fields = dataclasses.fields(section)
    return next((field.name for field in fields if field.metadata.get("main")), None)


def _unknown_key(schema: type[Any], name: str, command: str) -> ConfigError:
    known = [key.name for key in _keys(schema, OmegaConf.create(_defaults(schema)))]
    sections = sorted({key.rpartition(".")[0] for key in known if "." in key})
    hint = nearest(name, [*known, *sections])
    if not hint:
        ends = {key.rpartition(".")[2]: key for key in known}
        close = difflib.get_close_matches(name.rpartition(".")[2], list(ends), n=1, cutoff=0.6)
        hint = f'; did you mean "{ends[close[0]]}"?' if close else ""
    return ConfigError(
        f'"{command}" has no configuration key "{name}"'
        + (hint or f'; "selfflow {command} --help" lists them')
    )


def _defaults(schema: Any) -> dict[str, Any]:
    """Default values as a tree that OmegaConf takes; `???` where the user must give one."""
    tree: dict[str, Any] = {}
    hints = typing.get_type_hints(schema if isinstance(schema, type) else type(schema))
    for field in dataclasses.fields(schema):
        if not isinstance(schema, type):
            value = getattr(schema, field.name)
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        else:
            value = hints[field.name] if dataclasses.is_dataclass(hints[field.name]) else MISSING
        if dataclasses.is_dataclass(value):
            value = _defaults(value)
        tree[field.name] = list(value) if isinstance(value, tuple) else value
    return tree


def _keys(schema: type[Any], tree: DictConfig, prefix: str = "") -> Iterator[Key]:
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        annotation, name = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(annotation):
            yield from _keys(typing.cast("type[Any]", annotation), tree[field.name], f"{name}.")
            continue
        missing = OmegaConf.is_missing(tree, field.name)
        shown = "(required)" if missing else show(tree[field.name])
        yield Key(name, type_name(annotation), shown, field.metadata.get("help", ""))
