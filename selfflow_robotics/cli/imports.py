"""Modules of the user's own, which register their tasks."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from selfflow_robotics.storage.typed_yaml import ConfigError


def import_modules(names: Sequence[str]) -> None:
    """Import modules of the working folder, as `python -m` finds them, or installed ones.

    Raises:
        ConfigError: a name that is none, no such module, or one that fails while it is imported.
    """
    folder = os.getcwd()
    if names and folder not in sys.path:
        sys.path.insert(0, folder)
    for name in names:
        if name.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError(
                f"imports={name}: give the name of a module, as my_tasks or my_package.tasks; "
                "no path and no .py"
            )
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise ConfigError(f"imports={name} needs a module: {error}; install it") from error
            raise ConfigError(
                f"imports={name}: there is no module {error.name} in {folder}, nor is one installed"
            ) from error
        except (Exception, SystemExit) as error:  # whatever the user's own code raises
            raise ConfigError(
                f"imports={name} fails while it is imported: {type(error).__name__}: {error}"
            ) from error
