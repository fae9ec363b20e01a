"""A thing by the name that users type: one of those here, or `module:Class` of their own."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from selfflow_robotics.storage.typed_yaml import ConfigError, nearest


def require_name(name: str, here: Mapping[str, Any], key: str) -> None:
    """Refuse, without importing anything, what can be no name.

    Args:
        name: one of those here, or `module:Class`.
        here: what there is, by name.
        key: that the name was given for, as "planner.solver".

    Raises:
        ConfigError: lists what there is.
    """
    if name not in here and ":" not in name:
        raise ConfigError(
            f'{key}: there is no "{name}"{nearest(name, here) or ";"} choose from '
            f"{', '.join(here)}, or name your own, module:Class"
        )


def named(name: str, here: Mapping[str, str], key: str, base: type = object) -> Any:
    """The class that a name stands for, imported.

    Args:
        name: one of those here, or `module:Class`, of the working folder or installed.
        here: where each class is, as `module:Class`.
        key: that the name was given for, as "planner.solver".
        base: what a class must be derived from.

    Raises:
        ConfigError: no such name, module or class, or one of another kind.
    """
    require_name(name, here, key)
    module, _, attribute = here.get(name, name).partition(":")
    home = importlib.import_module(module) if name in here else import_own(module, key)
    found = getattr(home, attribute, None)
    if found is None:
        raise ConfigError(f"{key}={name}: the module {module} has no class {attribute!r}")
    if not (isinstance(found, type) and issubclass(found, base)):
        kind = "class" if base is object else f"class derived from {base.__name__}"
        raise ConfigError(f"{key}={name} is no {kind} but {found!r:.80}")
    if inspect.isabstract(found):
        lacking = " and ".join(sorted(vars(found)["__abstractmethods__"]))
        raise ConfigError(f"{key}={name} lacks {lacking}, as {base.__name__} describes it")
    return found


def made(kind: Any, key: str, *given: Any, **named: Any) -> Any:
    """An object of a class that may be a user's own.

    Raises:
        ConfigError: its constructor takes something else than it is given.
    """
    try:
        inspect.signature(kind).bind(*given, **named)
    except TypeError as error:
        raise ConfigError(
            f"{key}: {kind.__name__} is made with {len(given)} values"
            f"{''.join(f', {name}=...' for name in named)}, which it does not take: {error}"
        ) from None
    return kind(*given, **named)


def import_own(name: str, key: str) -> ModuleType:
    """Import a module of the working folder, as `python -m` finds it, or an installed one.

    Raises:
        ConfigError: a name that is none, no such module, or one that fails while it is imported.
    """
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(
            f"{key}={name}: give the name of a module, as my_tasks or my_package.tasks; "
            "no path and no .py"
        )
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"{key}={name} needs a module: {error}; install it") from error
        raise ConfigError(
            f"{key}={name}: there is no module {error.name} in {folder}, nor is one installed"
        ) from error
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        raise ConfigError(
            f"{key}={name} fails while it is imported: {type(error).__name__}: {error}"
        ) from error
