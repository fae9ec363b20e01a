"""Which numbers a key takes, beyond their type: said at once, before anything is read."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from selfflow_robotics.storage.typed_yaml import ConfigError


def require_in_range(config: Any, prefix: str = "") -> None:
    """Refuse numbers that a key cannot mean.

    A field's metadata says its least value ("from", 0 where nothing is said, None where there is
    none), one that it must exceed ("above"), its greatest ("to"), and whether it may be infinite
    ("infinite"). Of a list the same holds for every entry.

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
        named = (
            {f"{name}.{key}": entry for key, entry in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
        for key, entry in named.items():
            for number in entry if isinstance(entry, tuple | list) else (entry,):
                if type(number) in (int, float) and (takes := _refusal(number, field.metadata)):
                    shown = list(entry) if isinstance(entry, tuple) else entry
                    raise ConfigError(f"{key}={shown}: give {takes}")


def _refusal(number: float, metadata: Any) -> str:
    """What the key takes, where it does not take this number."""
    above, most = metadata.get("above"), metadata.get("to")
    least = metadata.get("from", 0) if above is None else None
    fits = math.isfinite(number) or (math.isinf(number) and metadata.get("infinite", False))
    takes = "whole numbers" if isinstance(number, int) else "numbers"
    if above is not None:
        fits, takes = fits and number > above, f"{takes} above {above}"
    elif least is not None:
        fits, takes = fits and number >= least, f"{takes} from {least}"
        takes += " on" if most is None else ""
    if most is not None:
        fits, takes = fits and number <= most, f"{takes} to {most}"
    elif above is least is None:
        takes = f"finite {takes}"
    return "" if fits else takes
