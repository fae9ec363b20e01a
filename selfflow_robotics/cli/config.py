"""Configuration of a command: a dataclass says what the keys are, YAML files preset them.

A command is a module `selfflow_robotics/cli/<command>.py` with three names: `HELP`, a plain string
literal; `Config`, a frozen dataclass; and `run(config) -> int`, which returns the exit status. A
field is a bool, int, float, str, Path, Enum, Literal, another dataclass (a section), `X | None` and
other unions, tuple[...], list[...], dict[str, ...]; :func:`selfflow_robotics.storage.keys.key` says
what it means and takes.

The rest is Hydra's: `selfflow train model=small model.depth=4` takes the section `model` from
`configs/model/small.yaml` and sets a key of it. Single keys win over presets; `--config-dir DIR`
adds presets of the user's own. What comes out is checked against the dataclass, every key of it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..storage import typed_yaml
from ..storage.keys import defaults_of, find, keys_of, require_in_range
from ..storage.typed_yaml import ConfigError
from .presets import Words, choices_of, composer, first_line, require_preset

ConfigT = TypeVar("ConfigT")


def compose(
    command: str,
    schema: type[ConfigT],
    arguments: Sequence[str] = (),
    config_dir: Path | None = None,
) -> ConfigT:
    """The configuration of one run, of the command's dataclass `schema`.

    Args:
        arguments: `key=value` and `group=choice` words.
        config_dir: a folder with presets of the user's own, beside the shipped ones.

    Raises:
        ConfigError: an unknown key or choice (the nearest right one is named), a value of the wrong
            type or out of its range, a required key without a value.
    """
    words = read(command, schema, arguments, config_dir)
    defaults = defaults_of(schema)
    with composer(defaults, words, config_dir, always=False) as composed:
        return typed(composed(()), schema, command, words.given)


def read(
    command: str,
    schema: type[Any],
    arguments: Sequence[str],
    config_dir: Path | None = None,
    sweeps: bool = False,
) -> Words:
    """Understand a command line, of a run or of a sweep, or raise a ConfigError."""
    keys = keys_of(schema)
    words = Words()
    for argument in arguments:
        name, equals, text = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f'"{argument}" is not of the form key=value')
        if sweeps and name.startswith(("hydra.", "hydra/")):
            words.hydra.append(argument)
            continue
        name, kind = find(keys, name, command)
        each = typed_yaml.swept(name, text) if sweeps and not os.path.lexists(text) else []
        if dataclasses.is_dataclass(kind):
            main = next((f.name for f in dataclasses.fields(kind) if f.metadata.get("main")), None)
            if main is None or (each or [text])[0] in choices_of(name, config_dir):
                for choice in each or [text]:
                    require_preset(name, choice, kind, config_dir)
                if each:
                    words.sweeps[name] = each
                else:
                    words.choices[name] = text
                continue
            name, kind = find(keys, f"{name}.{main}", command)
        if not each:
            words.values[name] = typed_yaml.parse(name, text, kind)
            words.sweeps.pop(f"++{name}", None)
        elif typed_yaml.holds_several(kind):
            words.sweeps[f"++{name}"] = [one if one[0] == "[" else f"[{one}]" for one in each]
        else:
            words.sweeps[f"++{name}"] = each
    return words


def typed(tree: DictConfig, schema: type[ConfigT], command: str, given: Collection[str]) -> ConfigT:
    """What was composed, as the command's dataclass; a ConfigError where something does not fit.

    Where that has a method `settled`, it is what this makes of the names of the keys `given`.
    """
    try:
        content = OmegaConf.to_container(tree, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(first_line(error)) from error
    config = typed_yaml.build(content, schema, "", f'"selfflow {command}"')
    assert isinstance(config, schema)
    require_in_range(config)
    settled: ConfigT = config.settled(given) if hasattr(config, "settled") else config
    return settled
