"""Presets: YAML files that set keys of a command, shipped ones and those of the user's own."""

from __future__ import annotations

import dataclasses
import importlib.resources
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from selfflow_robotics.storage.typed_yaml import ConfigError, nearest

PRESETS = "selfflow_robotics.configs"


def choices_of(
    group: str, config_dir: Path | None = None, presets: str = PRESETS
) -> tuple[str, ...]:
    """Names of the presets for the section `group`, sorted; empty when it is not a group."""
    return tuple(
        sorted(
            {
                entry.name.removesuffix(".yaml")
                for root in _roots(config_dir, presets)
                if (root / group).is_dir()
                for entry in (root / group).iterdir()
                if entry.name.endswith(".yaml")
            }
        )
    )


def preset_named(
    group: str, text: str, section: type[Any], config_dir: Path | None, presets: str = PRESETS
) -> str:
    """The preset `text` of a section, which is there and sets keys of the section.

    Raises:
        ConfigError: there is none of this name, or its file is faulty; the line is named.
    """
    known = choices_of(group, config_dir, presets)
    if not known:
        raise ConfigError(f'"{group}" is a section: set a key in it, as in {group}.KEY={text}')
    if text not in known:
        raise ConfigError(
            f'{group} has no preset "{text}"{nearest(text, known) or "; use"} '
            f"(there are: {', '.join(known)})"
        )
    for file in (root / group / f"{text}.yaml" for root in _roots(config_dir, presets)):
        if file.is_file():
            _require_keys(file, group, section)
    return text


def _require_keys(file: Any, group: str, section: type[Any]) -> None:
    """Refuse a file that is no YAML, or sets what the section has not."""
    try:
        node = yaml.compose(text := file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(_fault(file, error)) from error
    names = [item.name for item in dataclasses.fields(section)]
    if node is None or "@package" in text:  # that of Hydra: the keys are of another section
        return
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file} holds no keys; give those of {group}, as in {names[0]}: VALUE")
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "[...]"
        if name not in (*names, "defaults", "<<"):
            raise ConfigError(
                f"{file}, line {key.start_mark.line + 1}: unknown key "
                f'"{group}.{name}"{nearest(name, names)}'
            )


def _fault(file: Any, error: Exception) -> str:
    """What is wrong with a YAML file, and in which line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{file}, line {error.problem_mark.line + 1}: {error.problem}"
    return f"{file} is no readable YAML: {' '.join(str(error).split())}"


def merged(
    command: str, choices: Mapping[str, str], config_dir: Path | None, package: str
) -> DictConfig:
    """What the file of the command and the chosen presets set.

    Raises:
        ConfigError: they cannot be put together.
    """
    name = command.replace(" ", "_")
    source = importlib.resources.files(package) / f"{name}.yaml"
    if not source.is_file() and not choices:
        return OmegaConf.create({})

    # Hydra takes a third of a second to import, and commands without presets have no use for it.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException

    listed: set[str] = set()
    if source.is_file():
        loaded = OmegaConf.create(source.read_text(encoding="utf-8"))
        for entry in loaded.get("defaults", []) if isinstance(loaded, DictConfig) else []:
            if isinstance(entry, DictConfig):
                listed.update(str(key).removeprefix("override ") for key in entry)
    overrides = [
        f"{'' if group in listed else '+'}{group}={_quoted(choice)}"
        for group, choice in choices.items()
    ]
    if config_dir is not None:
        folder = _quoted(f"file://{config_dir.resolve()}")
        overrides.append(f"hydra.searchpath=[{folder}]")
    try:
        with initialize_config_module(package, version_base="1.3"):
            return hydra_compose(name if source.is_file() else None, overrides=overrides)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(_fault(mark.name if mark else "a preset", error)) from error
    except (HydraException, OmegaConfBaseException, RecursionError, TypeError, ValueError) as error:
        given = ", ".join(f"{group}={choice}" for group, choice in choices.items()) or name
        raise ConfigError(f"the presets {given} cannot be read: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """An error in a line; its cause, where it says nothing itself."""
    lines = str(error).strip().splitlines() or str(error.__cause__ or "").strip().splitlines()
    return (lines or [type(error).__name__])[0]


def _quoted(text: str) -> str:
    """A word of Hydra's grammar, whatever it holds."""
    doubled = re.sub(r"(\\*)('|$)", r"\1\1\2", text)
    return "'" + doubled.replace("'", "\\'") + "'"


def _roots(config_dir: Path | None, presets: str) -> list[Any]:
    shipped = importlib.resources.files(presets)
    return [shipped] if config_dir is None else [shipped, config_dir]
