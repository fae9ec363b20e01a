"""Presets: YAML files that set keys of a command, shipped ones and those of the user's own.

Hydra puts them together: the dataclass' defaults, the presets that were chosen and single keys, the
later ones winning.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..storage.typed_yaml import ConfigError, escaped, nearest

PRESETS = "selfflow_robotics.configs"
ROOT = "_selfflow_"  # what Hydra calls the configuration of the command


@dataclasses.dataclass
class Words:
    """What a command line says: presets of sections, keys, what is swept, words about Hydra."""

    choices: dict[str, str] = dataclasses.field(default_factory=dict)
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    sweeps: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # in Hydra's words
    hydra: list[str] = dataclasses.field(default_factory=list)

    @property
    def given(self) -> frozenset[str]:
        """The keys that it names, swept ones among them."""
        return frozenset(name.lstrip("+") for name in (*self.values, *self.sweeps))


def choices_of(group: str, config_dir: Path | None = None) -> tuple[str, ...]:
    """Names of the presets for the section `group`, sorted; empty when it is not a group."""
    folders = [root / group for root in _roots(config_dir)]
    files = [entry.name for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    return tuple(sorted({name[:-5] for name in files if name.endswith(".yaml")}))


def groups_of(defaults: Mapping[str, Any], config_dir: Path | None) -> dict[str, tuple[str, ...]]:
    """The sections, of a tree of defaults, that have presets, each with their names."""
    names = [name for name, part in defaults.items() if isinstance(part, dict)]
    return {name: found for name in names if (found := choices_of(name, config_dir))}


def require_preset(group: str, text: str, section: Any, config_dir: Path | None) -> None:
    """Refuse a preset that is not there, or sets what its section has not, with a ConfigError."""
    known = choices_of(group, config_dir)
    if not known:
        raise ConfigError(f'"{group}" is a section: set a key in it, as in {group}.KEY={text}')
    if text not in known:
        hint = nearest(text, known) or "; use"
        raise ConfigError(f'{group} has no preset "{text}"{hint} (there are: {", ".join(known)})')
    keys = [item.name for item in dataclasses.fields(section)]
    for file in (root / group / f"{text}.yaml" for root in _roots(config_dir)):
        if file.is_file():
            _require_keys(file, group, keys)


def _require_keys(file: Any, group: str, keys: list[str]) -> None:
    try:
        node = yaml.compose(text := file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(_fault(file, error)) from error
    if node is None or "@package" in text:  # that of Hydra: the keys are of another section
        return
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{file} holds no keys; give those of {group}, as in {keys[0]}: VALUE")
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "[...]"
        if name not in (*keys, "defaults", "<<"):
            unknown = f'unknown key "{group}.{name}"{nearest(name, keys)}'
            raise ConfigError(f"{file}, line {key.start_mark.line + 1}: {unknown}")


def _fault(file: Any, error: Exception) -> str:
    """What is wrong with a YAML file, and in which line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{file}, line {error.problem_mark.line + 1}: {error.problem}"
    return f"{file} is no readable YAML: {' '.join(str(error).split())}"


@contextmanager
def composer(
    defaults: Mapping[str, Any], words: Words, config_dir: Path | None, always: bool
) -> Iterator[Callable[[Iterable[str]], DictConfig]]:
    """Within this context Hydra knows a command's configuration, by the name `ROOT`.

    Unless `always` it is left out where there is nothing to put together: to import it takes a
    third of a second. Yields what composes, given Hydra's overrides; that raises ConfigError.
    """
    root: Any = OmegaConf.create()
    for key, value in words.values.items():
        OmegaConf.update(root, key, value, force_add=True)
    if not (words.choices or always):
        yield lambda _: DictConfig(OmegaConf.merge(defaults, root))
        return
    chosen = {group: words.choices.get(group) for group in groups_of(defaults, config_dir)}
    root["defaults"] = ["_keys_", *({group: choice} for group, choice in chosen.items()), "_self_"]
    root["defaults"] += [{f"override hydra/{log}_logging": "none"} for log in ("hydra", "job")]
    folders = [] if config_dir is None else [escaped(f"file://{config_dir.resolve()}")]
    root["hydra"] = {"output_subdir": None, "sweep": {"subdir": "."}, "searchpath": folders}

    from hydra import compose, initialize_config_module
    from hydra.core.config_store import ConfigStore
    from hydra.errors import HydraException

    ConfigStore.instance().store("_keys_", defaults)
    ConfigStore.instance().store(ROOT, root)
    wrong = (HydraException, OmegaConfBaseException, RecursionError, TypeError, ValueError)

    def composed(overrides: Iterable[str]) -> DictConfig:
        try:
            return compose(ROOT, overrides=[*overrides])
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise ConfigError(_fault(mark.name if mark else "a preset", error)) from error
        except wrong as error:
            given = ", ".join(f"{group}={name}" for group, name in chosen.items() if name)
            raise ConfigError(f"the presets {given} cannot be read: {first_line(error)}") from error

    with initialize_config_module(PRESETS, version_base="1.3"):
        yield composed


def first_line(error: BaseException) -> str:
    """An error in a line; its cause, where it says nothing itself."""
    lines = str(error).strip().splitlines() or str(error.__cause__ or "").strip().splitlines()
    return (lines or [type(error).__name__])[0]


def _roots(config_dir: Path | None) -> list[Any]:
    shipped = importlib.resources.files(PRESETS)
    return [shipped] if config_dir is None else [shipped, config_dir]
