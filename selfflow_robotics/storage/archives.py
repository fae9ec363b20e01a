"""What `torch.save` writes is a zip archive with checksums, which `torch.load` does not look at."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO


def require_intact(archive: Path | IO[bytes]) -> None:
    """Compare what a file holds with its checksums.

    Raises:
        ValueError: it differs, or is no archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            damaged = opened.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        raise ValueError(f"it is truncated or damaged: {error}") from None
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(f"it is damaged: {error}") from None  # places that are none
    if damaged is not None:
        raise ValueError("it is not what was written")
