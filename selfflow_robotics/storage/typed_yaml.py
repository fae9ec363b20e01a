"""Values of configuration keys: text to value, value to declared type, type to words."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, OmegaConf

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override


class ConfigError(ValueError):
    """What the user wrote does not fit the command's configuration; the message says how to."""


def nearest(word: str, words: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """`; did you mean "X"?` for the word most like this one, or an empty string.

    What is `shown` of a known word is said in its place.
    """
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f'; did you mean "{(shown or {}).get(found[0], found[0])}"?' if found else ""


def parse(name: str, text: str, annotation: Any) -> Any:
    """The value that `text` stands for, as OmegaConf takes it.

    Texts and paths may hold any character and stay as they were typed, but for quotes around them.
    "none" stands for null, but where a key takes words of its own, which it may be meant for.
    """
    kinds = set(members(annotation))
    if types.NoneType in kinds and text.lower() in ("null", ""):
        return None
    if types.NoneType in kinds and text.lower() == "none" and not _takes_words(kinds):
        return None
    if kinds == {Path} and not text:
        raise ConfigError(f"{name} takes a path, got nothing")
    if kinds <= {str, Path, types.NoneType}:
        return escaped(text if os.path.lexists(text) else _unquoted(text))
    if _holds_text(annotation):
        return [escaped(item) for item in _texts(text, annotation)]
    if holds_several(annotation) and not text.startswith("["):
        text = f"[{text}]"
    override = _in_hydras_words(text)
    if override is None:
        return text
    if override.is_sweep_override():
        raise ConfigError(f"{name} takes one value, got several: {text}")
    return override.value()


def swept(name: str, text: str) -> list[str]:
    """The values, in Hydra's words, that a sweep takes one after another; none: it is one value.

    Raises:
        ConfigError: they cannot be counted, as those of interval(0,1).
    """
    override = _in_hydras_words(text)
    if override is None and text[:1] != "[":
        items = _items(text)
        return [quoted(item) for item in items] if len(items) > 1 else []
    if override is None or not override.is_sweep_override():
        return []
    if not (override.is_choice_sweep() or override.is_range_sweep()) or "glob(" in text:
        raise ConfigError(f"{name}={text}: a sweep takes A,B,C, choice(A,B,C) or range(0,3)")
    return list(override.sweep_string_iterator())


def _in_hydras_words(text: str) -> Override | None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(f"key={text}")
    except HydraException:
        return None


def holds_several(annotation: Any) -> bool:
    """Whether a key may hold a list."""
    return any(typing.get_origin(kind) in (tuple, list) for kind in members(annotation))


def _holds_text(annotation: Any) -> bool:
    """Whether a key holds nothing but texts and paths, one or several."""
    kinds: set[Any] = set()
    for kind in members(annotation):
        several = typing.get_origin(kind) in (tuple, list)
        kinds.update(*(map(members, typing.get_args(kind))) if several else [(kind,)])
    return kinds <= {str, Path, types.NoneType, Ellipsis}


def _texts(text: str, annotation: Any) -> list[str]:
    """`[A,B]` is two. So is `A,B`, but of paths only where both exist: a name may have commas."""
    paths = any(Path in members(kind) for kind in typing.get_args(annotation))
    if not text or (paths and os.path.lexists(text)):
        return [text] if text else []
    bracketed = text[0] == "[" and text[-1] == "]"
    inner = text[1:-1] if bracketed else text
    items = _items(inner)
    if not bracketed and paths and not all(map(os.path.lexists, items)):
        return [_unquoted(text)]
    return items


def _items(text: str) -> list[str]:
    """What commas separate; quotes keep one from being a separator: 'a,b',c is two."""
    found = re.findall(r"""\s*(?:'[^']*'|"[^"]*")\s*(?=,|$)|[^,]+""", text)
    return [_unquoted(item) for one in found if (item := one.strip())]


def quoted(text: str) -> str:
    """Any text in Hydra's words."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(escaped(text), Quote.single).with_quotes()


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def escaped(text: str) -> str:
    """Text in which OmegaConf sees no reference to another key: `${b}` may be a folder's name."""
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", text)


def _takes_words(kinds: Iterable[Any]) -> bool:
    return any(typing.get_origin(kind) is typing.Literal for kind in kinds)


def members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, enum.Enum):
        return value.name
    if OmegaConf.is_list(value):
        return f"[{','.join(show(item) for item in value)}]"
    return str(value)


def type_name(annotation: Any) -> str:
    """A type as the user reads it."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "|".join(str(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin in (tuple, list):
        if Ellipsis in arguments or origin is list:
            return f"list of {type_name(arguments[0])}"
        return f"[{','.join(type_name(argument) for argument in arguments)}]"
    if origin is dict:
        return f"section of {type_name(arguments[1])}"
    if annotation is types.NoneType:
        return "null"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "|".join(annotation.__members__)
    plain = {str: "text", Path: "path", int: "integer", float: "number", bool: "true|false"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))


def build(value: Any, annotation: Any, name: str, who: str) -> Any:
    """`value` as the declared type, or a ConfigError which says what was expected.

    Args:
        value: of YAML: mappings, lists, texts, numbers.
        annotation: the type; a dataclass takes a mapping with its fields as keys.
        name: of the key; "" for all of it.
        who: whose values these are, for messages: a command, or a file.
    """
    if value == MISSING and isinstance(value, str):
        raise ConfigError(f"{who} needs a value for {name}: add {name}=VALUE")
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} is a section of keys, got {value!r}")
        hints = typing.get_type_hints(annotation)
        for key in value:
            if key not in hints:
                where = f"{name}.{key}" if name else str(key)
                hint = nearest(str(key), hints) or f"; there are {', '.join(hints)}"
                raise ConfigError(f'{who} has an unknown key "{where}"{hint}')
        for item in dataclasses.fields(annotation):
            missing = (item.default, item.default_factory) == (dataclasses.MISSING,) * 2
            if missing and item.name not in value:
                lacking = f"{name}.{item.name}" if name else item.name
                raise ConfigError(f"{who} lacks {lacking}, {_article(type_name(hints[item.name]))}")
        parts = {
            key: build(item, hints[key], f"{name}.{key}" if name else key, who)
            for key, item in value.items()
        }
        return annotation(**parts)
    sections = [kind for kind in members(annotation) if dataclasses.is_dataclass(kind)]
    if len(sections) == 1 and isinstance(value, Mapping):
        return build(value, sections[0], name, who)
    for member in members(annotation):
        converted = _convert(value, member, name, who)
        if converted is not _UNFIT:
            return converted
    raise ConfigError(f"{name} takes {_article(type_name(annotation))}, got {value!r}")


_UNFIT = object()


def _convert(value: Any, kind: Any, name: str, who: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is types.NoneType:
        return None if value is None else _UNFIT
    if kind is Any:
        return value
    if origin is typing.Literal:
        return value if value in arguments else _UNFIT
    if origin in (tuple, list):
        each = origin is tuple and Ellipsis not in arguments  # has a type of its own
        if not isinstance(value, (list, tuple)) or (each and len(arguments) != len(value)):
            return _UNFIT
        kinds = arguments if each else (arguments[0],) * len(value)
        pairs = enumerate(zip(value, kinds, strict=True))
        return origin(build(item, kind, f"{name}[{i}]", who) for i, (item, kind) in pairs)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return _UNFIT
        return {k: build(v, arguments[1], f"{name}.{k}", who) for k, v in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value if isinstance(value, kind) else kind.__members__.get(str(value), _UNFIT)
    if kind is bool or isinstance(value, bool):
        return value if kind is bool and isinstance(value, bool) else _UNFIT
    if kind is int:
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return int(value) if whole else _UNFIT
    if kind is float:
        return float(value) if isinstance(value, (int, float)) else _UNFIT
    if kind is Path:
        # Not Path.expanduser, which fails where ~NAME is nobody's home: then it is a file's name.
        return Path(os.path.expanduser(value)) if isinstance(value, (str, Path)) else _UNFIT
    if kind is str:
        return str(value) if isinstance(value, (str, int, float, Path)) else _UNFIT
    return value if isinstance(value, kind) else _UNFIT


def _article(noun: str) -> str:
    if noun.startswith(("list", "section", "path", "number")):
        return f"a {noun}"
    return f"an {noun}" if noun.startswith("integer") else noun
