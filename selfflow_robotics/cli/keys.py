"""The keys of a command's dataclass: their names, those of before, their types and defaults."""

from __future__ import annotations

import dataclasses
import sys
import typing
from typing import Any

from omegaconf import MISSING

from ..storage.typed_yaml import ConfigError, nearest


def defaults_of(schema: Any) -> dict[str, Any]:
    """Default values as a tree that OmegaConf takes; `???` where the user must give one."""

    def blank(kind: Any) -> Any:
        hints = typing.get_type_hints(kind)
        needed = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory]
        sections = {name for name in needed if dataclasses.is_dataclass(hints[name])}
        return kind(**{n: blank(hints[n]) if n in sections else MISSING for n in needed})

    return dataclasses.asdict(blank(schema))


def keys_of(schema: Any, prefix: str = "") -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """Fields and types of all keys and sections, by their names with dots."""
    kinds, found = typing.get_type_hints(schema), {}
    for field in dataclasses.fields(schema):
        name, kind = f"{prefix}{field.name}", kinds[field.name]
        found[name] = field, kind
        if dataclasses.is_dataclass(kind):
            found |= keys_of(kind, f"{name}.")
    return found


def find(
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
    ends = {key.rpartition(".")[2]: key for key in keys}
    hint = nearest(name, keys) or nearest(name.rpartition(".")[2], ends, ends)
    text = f'"{command}" has no configuration key "{name}"'
    raise ConfigError(text + (hint or f'; "selfflow {command} --help" lists them'))
