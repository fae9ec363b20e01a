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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..storage import typed_yaml
from ..storage.typed_yaml import ConfigError, nearest
from .presets import PRESETS, Words, choices_of, composer, first_line, require_preset
from .ranges import require_in_range

__all__ = ["ConfigError", "compose", "describe", "nearest"]

ConfigT = TypeVar("ConfigT")


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
    defaults = defaults_of(schema)
    with composer(command, defaults, words, config_dir, presets, always=False) as composed:
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
    keys = _keys(schema)
    words = Words(dict.fromkeys(groups_of(schema, config_dir, presets)))
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f'"{argument}" is not of the form key=value')
        if sweeps and name.startswith(("hydra.", "hydra/")):
            words.hydra.append(argument)
            continue
        name, kind = _find(keys, name, command)
        each = typed_yaml.swept(name, text) if sweeps and not os.path.lexists(text) else []
        if dataclasses.is_dataclass(kind):
            main = next((f.name for f in dataclasses.fields(kind) if "main" in f.metadata), None)
            if main is None or (each or [text])[0] in choices_of(name, config_dir, presets):
                for choice in each or [text]:
                    require_preset(name, choice, kind, config_dir, presets)
                words.sweeps.update({name: each} if each else {})
                words.choices[name] = None if each else text
                continue
            name, kind = _find(keys, f"{name}.{main}", command)
        if not each:
            words.values[name] = typed_yaml.parse(name, text, kind)
            words.sweeps.pop(f"++{name}", None)
        elif typed_yaml.holds_several(kind):
            words.sweeps[f"++{name}"] = [one if one[0] == "[" else f"[{one}]" for one in each]
        else:
            words.sweeps[f"++{name}"] = each
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
    groups = groups_of(schema, config_dir, presets)
    words = Words(dict.fromkeys(groups))
    with composer(command, defaults_of(schema), words, config_dir, presets, False) as composed:
        content: Any = OmegaConf.to_container(composed(()), resolve=True)
    rows = []
    for name, (field, kind) in _keys(schema).items():
        if not dataclasses.is_dataclass(kind):
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
    schema: type[Any], config_dir: Path | None = None, presets: str = PRESETS
) -> dict[str, tuple[str, ...]]:
    """The sections that have presets, each with their names."""
    kinds = typing.get_type_hints(schema)
    names = [f.name for f in dataclasses.fields(schema) if dataclasses.is_dataclass(kinds[f.name])]
    return {name: found for name in names if (found := choices_of(name, config_dir, presets))}


def _keys(schema: Any, prefix: str = "") -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Fields and types of all keys and sections, by their names with dots."""
    kinds, found = typing.get_type_hints(schema), {}
    for field in dataclasses.fields(schema):
        name, kind = f"{prefix}{field.name}", kinds[field.name]
        found[name] = field, kind
        if dataclasses.is_dataclass(kind):
            found |= _keys(kind, f"{name}.")
    return found


def _find(
    keys: dict[str, tuple[dataclasses.Field[Any], Any]], name: str, command: str
) -> tuple[str, Any]:
    """A key's name today, which may have been another one before, and its type."""
    if name.partition(".")[0] not in keys:
        former = {was: key for key, (f, _) in keys.items() for was in f.metadata.get("was", ())}
        if today := former.get(name):
            print(f'"{name}" is now called "{today}": write {today}=...', file=sys.stderr)
            name = today
    if name in keys:
        return name, keys[name][1]
    _, section = keys.get(name.rpartition(".")[0], (None, None))
    if typing.get_origin(section) is dict:
        return name, typing.get_args(section)[1]
    hint = nearest(name, keys)
    if not hint:
        ends = {key.rpartition(".")[2]: key for key in keys}
        close = difflib.get_close_matches(name.rpartition(".")[2], list(ends), n=1, cutoff=0.6)
        hint = f'; did you mean "{ends[close[0]]}"?' if close else ""
    text = f'"{command}" has no configuration key "{name}"'
    raise ConfigError(text + (hint or f'; "selfflow {command} --help" lists them'))
