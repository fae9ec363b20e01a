"""Completion of command lines by Hydra's plugins for shells: `selfflow -sc install=bash`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Sequence

from ..storage.keys import defaults_of
from .presets import ROOT, Words, composer


def complete(words: Sequence[str], known: Iterable[str]) -> int:
    """Answer a shell.

    Args:
        words: install=SHELL, uninstall=SHELL, or query=SHELL for what goes on COMP_LINE.
        known: the commands.
    """
    from hydra.core.global_hydra import GlobalHydra

    *before, last = os.environ.get("COMP_LINE", "").split(" ")[1:] or [""]
    names = [name.split() for name in known]
    command = next((name for name in names if before[: len(name)] == name), None)
    if command is None and any(word.startswith("query=") for word in words):
        depth = len(before)
        found = {name[depth] for name in names if name[:depth] == before and len(name) > depth}
        print(" ".join(sorted(word for word in found if word.startswith(last))))
        return 0
    defaults = {}
    if command is not None:
        schema = importlib.import_module(f"selfflow_robotics.cli.{'_'.join(command)}").Config
        defaults = defaults_of(schema)
        os.environ["COMP_LINE"] = " ".join(["selfflow", *before[len(command) :], last])
    with composer(defaults, Words(), None, always=True):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        hydra.shell_completion(ROOT, list(words))
    return 0
