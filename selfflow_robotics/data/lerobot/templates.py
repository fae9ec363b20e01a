"""The paths that `meta/info.json` gives as templates, filled so that they stay in the folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from string import Formatter

_SPEC = re.compile(r"0?[0-9]{0,2}d?")  # as "03d": nothing that could make a long text


def fill(template: str, values: Mapping[str, int | str]) -> PurePosixPath:
    """A relative path, as "data/chunk-000/file-002.parquet".

    Args:
        template: as "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet".
        values: what may stand in braces.

    Raises:
        ValueError: it asks for something else, or leads out of the folder; the message is the
            end of a sentence about the template.
    """
    parts: list[str] = []
    for text, name, spec, conversion in Formatter().parse(template):
        parts.append(text)
        if name is None:
            continue
        if name not in values or conversion is not None:
            raise ValueError(f"asks for {name!r}, where only {sorted(values)} are known")
        value = values[name]
        fits = _SPEC.fullmatch(spec or "") if isinstance(value, int) else not spec
        if not fits:
            raise ValueError(f'writes {name} as "{spec}", which is no number of digits as "03d"')
        parts.append(format(value, spec or ""))
    path = PurePosixPath("".join(parts))
    if path.is_absolute() or ".." in path.parts or "\\" in str(path) or "\0" in str(path):
        raise ValueError(f'leads out of the data set, to "{path}"')
    return path
