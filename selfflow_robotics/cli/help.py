"""The keys of a command as `--help` shows them: defaults, types, meanings, presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf

from ..storage.keys import defaults_of, keys_of
from ..storage.typed_yaml import show, type_name
from .presets import Words, composer, groups_of


def describe(schema: type[Any], config_dir: Path | None = None) -> str:
    """The resolved default configuration, one key a line with its type, then the groups."""
    defaults = defaults_of(schema)
    groups = groups_of(defaults, config_dir)
    with composer(defaults, Words(), config_dir, always=False) as composed:
        tree = composed(())
    rows = []
    for name, (field, kind) in sorted(keys_of(schema).items(), key=lambda item: "." in item[0]):
        if not dataclasses.is_dataclass(kind):
            value = OmegaConf.select(tree, name, default=MISSING)
            shown = "(required)" if value == MISSING else show(value)
            rows.append((f"{name}={shown}", type_name(kind), field.metadata.get("help", "")))
    left = max((len(row[0]) for row in rows if len(row[0]) <= 40), default=0)
    middle = max((len(row[1]) for row in rows if len(row[1]) <= 30), default=0)
    lines = [f"  {key:{left}}  {kind:{middle}}  {text}".rstrip() for key, kind, text in rows]
    lines = ["Configuration (key=value, with its default):", *(lines or ["  (no keys)"])]
    if groups:
        lines += ["", "Presets (group=choice, sets a whole section):"]
    return "\n".join(lines + [f"  {group}={'|'.join(found)}" for group, found in groups.items()])
