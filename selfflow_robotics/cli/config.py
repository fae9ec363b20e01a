"""Configuration of a command: a dataclass says what the keys are, YAML files preset them.

A command is a module `selfflow_robotics/cli/<command>.py` with three names: `HELP`, a plain string
literal; `Config`, a frozen dataclass; and `run(config) -> int`, which returns the exit status::

    @dataclass(frozen=True)
    class Config:
        out: Path                                            # no default: the user must give it
        steps: int = field(default=1000, metadata={"help": "optimizer steps"})
        objective: Literal["self-flow", "flow"] = "self-flow"
        size: tuple[int, int] = (64, 80)
        model: ModelConfig = field(default_factory=ModelConfig)   # a section, perhaps a group

A field is a bool, int, float, str, Path, Enum, Literal, another dataclass, `X | None` and other
unions, tuple[...], list[...], dict[str, ...]. Its metadata may say the key's meaning ("help"), its
range (see `ranges`), former names that go on working ("was"), and that it is meant by its section's
name alone ("main": `data=FOLDER` is `data.path=FOLDER`, unless a preset has that name).

The rest is Hydra's: `selfflow train model=small model.depth=4` takes the section `model` from
`configs/model/small.yaml` and sets a key of it; `configs/train.yaml`, when it is there, overrides
the dataclass' defaults. Single keys win over presets, presets over that file; `--config-dir DIR`
adds presets of the user's own. What comes out is checked against the dataclass, every key of it.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import operator
import os
import sys
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..storage import typed_yaml
from ..storage.typed_yaml import ConfigError, nearest
from .presets import PRESETS, choices_of, composer, first_line, require_preset
from .ranges import require_in_range

__all__ = ["ConfigError", "compose", "describe", "nearest"]

ConfigT = TypeVar("ConfigT")


@dataclasses.dataclass
class Words:
    """What a command line says: presets of sections, keys, what is swept, words about Hydra."""

    choices: dict[str, str | None]
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    sweeps: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # in Hydra's words
    hydra: list[str] = dataclasses.field(default_factory=list)


def compose(
    command: str,
    schema: type[ConfigT],
    arguments: Sequence[str] = (),
    config_dir: Path | None = None,
    presets: str = PRESETS,
) -> ConfigT:
    """The configuration of one run, of the dataclass `schema`.

    Args:
        command: name of the command, as in `selfflow COMMAND`.
        schema: the command's dataclass.
        arguments: `key=value` and `group=choice` words.
        config_dir: a folder with presets of the user's own, beside the shipped ones.
        presets: the package that holds the shipped ones.

    Raises:
        ConfigError: an unknown key or choice (the nearest right one is named), a value of the wrong
            type or out of its range, a required key without a value.
    """
    words = read(command, schema, arguments, config_dir, presets)
    tree = defaults_of(schema)
    with composer(command, tree, words.choices, words.values, config_dir, presets) as composed:
        return typed(composed(()), schema, command)


def read(
    command: str,
    schema: type[Any],
    arguments: Sequence[str],
    config_dir: Path | None = None,
    presets: str = PRESETS,
    sweeps: bool = False,
) -> Words:
    """Understand a command line, of a run or of a sweep, or raise a ConfigError."""
    words = Words(dict.fromkeys(groups_of(schema, config_dir, presets)))
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f'"{argument}" is not of the form key=value')
        if sweeps and name.startswith(("hydra.", "hydra/")):
            words.hydra.append(argument)
            continue
        name = _name_today(schema, name)
        kind: Any = _kind_of(schema, name, command)
        each = typed_yaml.swept(name, text) if sweeps and not os.path.lexists(text) else []
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            main = next((f.name for f in dataclasses.fields(kind) if "main" in f.metadata), None)
            if main is None or (each or [text])[0] in choices_of(name, config_dir, presets):
                for choice in each or [text]:
                    require_preset(name, choice, kind, config_dir, presets)
                words.sweeps.update({name: each} if each else {})
                words.choices[name] = None if each else text
                continue
            name = f"{name}.{main}"
            kind = _kind_of(schema, name, command)
        if each:
            listed = typed_yaml.holds_several(kind)
            words.sweeps[f"++{name}"] = [
                f"[{one}]" if listed and one[0] != "[" else one for one in each
            ]
            continue
        words.values[name] = typed_yaml.parse(name, text, kind)
    return words


def typed(tree: DictConfig, schema: type[ConfigT], command: str) -> ConfigT:
    """What was composed, as the command's dataclass; a ConfigError where something does not fit."""
    try:
        content = OmegaConf.to_container(tree, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(first_line(error)) from error
    config = typed_yaml.build(content, schema, "", f'"selfflow {command}"')
    assert isinstance(config, schema)
    require_in_range(config)
    return config


def describe(
    command: str, schema: type[Any], config_dir: Path | None = None, presets: str = PRESETS
) -> str:
    """The resolved default configuration, one key a line with its type, then the groups."""
    tree, groups = defaults_of(schema), groups_of(schema, config_dir, presets)
    with composer(command, tree, dict.fromkeys(groups), {}, config_dir, presets) as composed:
        content: Any = OmegaConf.to_container(composed(()), resolve=True)
    rows = []
    for name, field, kind in _keys(schema):
        value = functools.reduce(operator.getitem, name.split("."), content)
        shown = "(required)" if value == MISSING else typed_yaml.show(value)
        meaning = field.metadata.get("help", "")
        rows.append((f"{name}={shown}", typed_yaml.type_name(kind), meaning))
    left = max((len(row[0]) for row in rows if len(row[0]) <= 40), default=0)
    middle = max((len(row[1]) for row in rows if len(row[1]) <= 30), default=0)
    lines = [f"  {key:{left}}  {kind:{middle}}  {text}".rstrip() for key, kind, text in rows]
    text = "Configuration (key=value, with its default):\n" + "\n".join(lines or ["  (no keys)"])
    if groups:
        text += "\n\nPresets (group=choice, sets a whole section):"
    return text + "".join(f"\n  {group}={'|'.join(found)}" for group, found in groups.items())


def defaults_of(schema: Any) -> dict[str, Any]:
    """Default values as a tree that OmegaConf takes; `???` where the user must give one."""

    def blank(kind: Any) -> Any:
        hints = typing.get_type_hints(kind)
        needed = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory]
        sections = {name for name in needed if dataclasses.is_dataclass(hints[name])}
        return kind(**{n: blank(hints[n]) if n in sections else MISSING for n in needed})

    return dataclasses.asdict(blank(schema))


def groups_of(
    schema: Any, config_dir: Path | None = None, presets: str = PRESETS
) -> dict[str, tuple[str, ...]]:
    """The sections that have presets, each with their names."""
    hints = typing.get_type_hints(schema)
    names = [f.name for f in dataclasses.fields(schema) if dataclasses.is_dataclass(hints[f.name])]
    return {name: found for name in names if (found := choices_of(name, config_dir, presets))}


def _kind_of(schema: type[Any], name: str, command: str) -> Any:
    """The declared type of the key called `name`, which may be dotted."""
    kind: Any = schema
    for part in name.split("."):
        hints = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if typing.get_origin(kind) is dict:
            kind = typing.get_args(kind)[1]
        elif part in hints:
            kind = hints[part]
        else:
            raise _unknown_key(schema, name, command)
    return kind


def _name_today(schema: type[Any], name: str) -> str:
    """The key that is meant by `name`, which may be one that it had before."""
    if name.partition(".")[0] in (field.name for field in dataclasses.fields(schema)):
        return name
    for today, field, _ in _keys(schema):
        if name in field.metadata.get("was", ()):
            print(f'"{name}" is now called "{today}": write {today}=...', file=sys.stderr)
            return today
    return name


def _unknown_key(schema: type[Any], name: str, command: str) -> ConfigError:
    known = [key for key, _, _ in _keys(schema)]
    sections = sorted({key.rpartition(".")[0] for key in known if "." in key})
    hint = nearest(name, [*known, *sections])
    if not hint:
        ends = {key.rpartition(".")[2]: key for key in known}
        close = difflib.get_close_matches(name.rpartition(".")[2], list(ends), n=1, cutoff=0.6)
        hint = f'; did you mean "{ends[close[0]]}"?' if close else ""
    text = f'"{command}" has no configuration key "{name}"'
    return ConfigError(text + (hint or f'; "selfflow {command} --help" lists them'))


def _keys(schema: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """All keys: their names with dots, their fields and types."""
    hints = typing.get_type_hints(schema)
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from _keys(hints[field.name], f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, hints[field.name]
