"""A key that users set: what it means and which numbers it takes, beyond its type."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from .typed_yaml import ConfigError


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
    takes = "whole numbers" if isinstance(number, int) else "numbers"
    if above is not None:
        fits, takes = fits and number > above, f"{takes} above {above}"
    elif least is not None:
        fits, takes = fits and number >= least, f"{takes} from {least}"
        takes += " on" if most is None else ""
    else:
        takes = f"finite {takes}"
    if most is not None:
        fits, takes = fits and number <= most, f"{takes} to {most}"
    return "" if fits else takes
