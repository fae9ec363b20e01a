"""Mappings of one's own: a YAML file with the fields of a mapping of either format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from selfflow_robotics.storage.typed_yaml import build

MappingT = TypeVar("MappingT")


def is_mapping_file(name: str) -> bool:
    """Whether a mapping's name is that of a file."""
    return name.endswith((".yaml", ".yml"))


def read_keys(file: str) -> Mapping[str, Any]:
    """What a file of a mapping holds; its own name is the mapping's where it gives none.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or holds no keys.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no mapping file {path}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is no readable YAML ({reason})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no keys; give those of a mapping: image, actions, ...")
    return {"name": path.stem, **content}


def declared(keys: Mapping[str, Any], kind: type[MappingT], file: str) -> MappingT:
    """The mapping that the keys of a file declare.

    Raises:
        ValueError: a key is unknown, lacks or holds something else; the message names file and key
            and what may be there.
    """
    try:
        found = build(keys, kind, "", file)
    except (ValueError, TypeError) as error:
        text = str(error)
        raise ValueError(text if file in text else f"{file}: {text}") from error
    assert isinstance(found, kind)
    return found
