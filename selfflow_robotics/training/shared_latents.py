"""Where the ranks of a run find latents that one of them encoded."""

from __future__ import annotations

import shutil
from pathlib import Path

from .ranks import Ranks


def shared_cache(cache: Path | None, output: Path, ranks: Ranks) -> Path | None:
    """The cache that was asked for; several ranks without one share a folder of the run's.

    It lies under `output`, which all nodes see, until :func:`forget_shared_latents`: a run that was
    killed or stopped goes on with it. None is memory, enough for a process that is alone.
    """
    return cache if cache is not None or ranks.count == 1 else _folder(output)


def forget_shared_latents(output: Path) -> None:
    """Remove what ranks shared, when a run is done."""
    shutil.rmtree(_folder(output), ignore_errors=True)


def _folder(output: Path) -> Path:
    return output / "training" / "latents"
