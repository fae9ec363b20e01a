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
                if type(number) in (int, float) and not _fits(number, field.metadata):
                    shown = list(entry) if isinstance(entry, tuple) else entry
                    raise ConfigError(f"{key}={shown}: give {_said(number, field.metadata)}")


def _fits(number: float, metadata: Any) -> bool:
    least, above, most = _limits(metadata)
    if math.isnan(number) or (math.isinf(number) and not metadata.get("infinite")):
        return False
    return (
        (least is None or number >= least)
        and (above is None or number > above)
        and (most is None or number <= most)
    )


def _limits(metadata: Any) -> tuple[float | None, float | None, float | None]:
    above, most = metadata.get("above"), metadata.get("to")
    return (None if above is not None else metadata.get("from", 0)), above, most


def _said(number: float, metadata: Any) -> str:
    least, above, most = _limits(metadata)
    kind = "whole numbers" if isinstance(number, int) else "numbers"
    parts = [kind if (least, above, most) != (None, None, None) else f"finite {kind}"]
    if above is not None:
        parts.append(f"above {above}")
    elif least is not None:
        parts.append(f"from {least}")
    if most is not None:
        parts.append(f"to {most}")
    elif least is not None:
        parts.append("on")
    return " ".join(parts)
