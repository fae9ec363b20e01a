"""Optional dependencies: an error that names the extra to install, not a bare ImportError."""

from __future__ import annotations

import importlib
from typing import Any


class MissingExtraError(ImportError):
    """A package that only an extra installs is not here; the message gives the command."""


def require(module: str, extra: str) -> Any:
    """A module that an extra of pyproject.toml brings, as "tensorflow" and "rlds".

    Raises:
        MissingExtraError: the module's package is not installed. An error from within an installed
            package is passed on as it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        top = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != top:
            raise
        raise MissingExtraError(
            f'this needs the package "{top}", which is not installed: '
            f"run: pip install 'selfflow_robotics[{extra}]'",
            name=top,
        ) from error
