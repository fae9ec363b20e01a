"""Refusals of a mapping, of either format, that reads what a data set does not hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .action_spec import ActionSpec, StateSpec


def require_keys(
    where: str, mapping: str, wanted: Sequence[str], actions: Collection[str], held: Collection[str]
) -> None:
    """Refuse a mapping of that name which reads keys that are not held.

    Raises:
        ValueError: names them, and what is held.
    """
    lacking = [key for key in wanted if key not in held]
    if lacking:
        without = ' ("actions: []" in a YAML reads data that has none)'
        raise ValueError(
            f"{where} lacks {', '.join(lacking)}, which the mapping "
            f'"{mapping}" reads; it has {", ".join(sorted(held))}: '
            f"choose or declare another mapping{without if set(lacking) <= set(actions) else ''}"
        )


def require_entries(
    where: str,
    mapping: str,
    what: str,
    sizes: Mapping[str, int],
    spec: ActionSpec | StateSpec | None,
    entries: Sequence[int] = (),
) -> None:
    """Refuse a mapping that describes other entries than its keys hold.

    Args:
        what: "actions" or "states".
        entries: those that are read of all keys side by side; () for all.

    Raises:
        ValueError: names the sizes, and the entries that are described.
    """
    total = sum(sizes.values())
    beyond = max(entries, default=-1) >= total
    if beyond or (spec is not None and len(entries or range(total)) != spec.size):
        raise ValueError(
            f'{where} has {what} of {dict(sizes)}, but the mapping "{mapping}" '
            f"describes {spec.size if spec else 0} entries {spec.names if spec else ()}; "
            "choose or declare another mapping"
        )
