"""The keys of a dataclass that users set: what each means, which there are, what they take."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from typing import Any

from omegaconf import MISSING

from .typed_yaml import ConfigError, nearest

Keys = dict[str, tuple[dataclasses.Field[Any], Any]]


def key(
    meaning: str,
    default: Any = dataclasses.MISSING,
    *,
    least: float | None = 0,
    above: float | None = None,
    most: float | None = None,
    infinite: bool = False,
    was: tuple[str, ...] = (),
    main: bool = False,
) -> Any:
    """A field of a configuration's dataclass; without a default users must give it.

    Args:
        meaning: what `--help` says of it, units among it.
        default: a value, or what makes it, as list.
        least, above, most: its least number, or one that it must exceed, and its greatest; of a
            list the same holds for every entry.
        infinite: whether a number may be.
        was: former names, which go on working.
        main: meant by its section's name alone: `data=FOLDER` is `data.path=FOLDER`, unless a
            preset has that name.
    """
    said = {"help": meaning, "was": was, "main": main}
    takes = {"least": least, "above": above, "most": most, "infinite": infinite}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=said | takes)
    return dataclasses.field(default=default, metadata=said | takes)


def defaults_of(schema: Any) -> dict[str, Any]:
    """Default values as a tree that OmegaConf takes; `???` where the user must give one."""

    def blank(kind: Any) -> Any:
        hints = typing.get_type_hints(kind)
        needed = [f.name for f in dataclasses.fields(kind) if f.default is f.default_factory]
        sections = {name for name in needed if dataclasses.is_dataclass(hints[name])}
        return kind(**{n: blank(hints[n]) if n in sections else MISSING for n in needed})

    return dataclasses.asdict(blank(schema))


def keys_of(schema: Any, prefix: str = "") -> Keys:
    """Fields and types of all keys and sections, by their names with dots."""
    kinds, found = typing.get_type_hints(schema), {}
    for field in dataclasses.fields(schema):
        name, kind = f"{prefix}{field.name}", kinds[field.name]
        found[name] = field, kind
        if dataclasses.is_dataclass(kind):
            found |= keys_of(kind, f"{name}.")
    return found


def find(keys: Keys, name: str, command: str) -> tuple[str, Any]:
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


def require_in_range(config: Any, prefix: str = "") -> None:
    """Refuse numbers that a key, as :func:`key` declares it, cannot mean.

    Args:
        config: a dataclass, perhaps with others in it.

    Raises:
        ConfigError: names the key and what it takes.
    """
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            require_in_range(value, f"{name}.")
            continue
        entries = {"": value} if not isinstance(value, dict) else value
        for entry, given in entries.items():
            for number in given if isinstance(given, tuple | list) else (given,):
                if type(number) in (int, float) and (takes := _refusal(number, field.metadata)):
                    shown = list(given) if isinstance(given, tuple) else given
                    raise ConfigError(f"{name}{entry and '.'}{entry}={shown}: give {takes}")


def _refusal(number: float, said: Any) -> str:
    """What the key takes, where it does not take this number."""
    least, above, most = said.get("least", 0), said.get("above"), said.get("most")
    fits = math.isfinite(number) or (math.isinf(number) and said.get("infinite", False))
    takes = "whole numbers" if isinstance(number, int) else "numbers" if fits else "finite numbers"
    if above is not None:
        fits, takes = fits and number > above, f"{takes} above {above}"
    elif least is not None:
        fits, takes = fits and number >= least, f"{takes} from {least}"
        takes += " on" if most is None else ""
    if most is not None:
        fits, takes = fits and number <= most, f"{takes} to {most}"
    return "" if fits else takes
