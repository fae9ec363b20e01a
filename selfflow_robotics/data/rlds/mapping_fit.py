"""Does a mapping fit a data set, and which one does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from selfflow_robotics.data.mapping_file import NO_ACTIONS
from selfflow_robotics.data.rlds.mappings import MAPPINGS, RldsMapping


def require_fit(
    mapping: RldsMapping, features: Mapping[str, Any], where: str
) -> tuple[int, int] | None:
    """Refuse a mapping that reads what is not there.

    Args:
        mapping: which keys are read.
        features: what the data set declares, flat.
        where: what the data set is called in messages.

    Returns:
        Height and width of the images; None where they are free.

    Raises:
        ValueError: a feature is absent or has another size.
    """
    wanted = [f"steps/{key}" for key in mapping.step_keys]
    lacking = [key for key in [*wanted, *mapping.episode_keys] if key not in features]
    if lacking:
        without = set(lacking) <= {f"steps/{key}" for key in mapping.actions}
        hint = f" ({NO_ACTIONS})" if without else ""
        raise ValueError(
            f"{where} lacks {', '.join(lacking)}, which the mapping "
            f'"{mapping.name}" reads; it has {", ".join(sorted(features))}: '
            f"choose or declare another mapping{hint}"
        )
    for what, keys, spec in (
        ("actions", mapping.actions, mapping.action_spec),
        ("states", mapping.states, mapping.state_spec),
    ):
        sizes = {key: int(np.prod(features[f"steps/{key}"].shape)) for key in keys}
        no_actions = what == "actions" and not keys
        if spec is not None and not no_actions and sum(sizes.values()) != spec.size:
            raise ValueError(
                f'{where} has {what} of {sizes}, but the mapping "{mapping.name}" '
                f"describes {spec.size} entries {spec.names}; choose or declare another mapping"
            )
    feature = features[f"steps/{mapping.image}"]
    shape = feature.shape
    # TFDS stores other numbers than bytes as the bytes of a PNG, which are no picture.
    if hasattr(feature, "encoding_format") and np.dtype(feature.np_dtype) != np.uint8:
        raise ValueError(
            f"{where} has {mapping.image} as a picture file of type {feature.np_dtype}, of which "
            "only uint8 is read; write the data set again"
        )
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            f"{where} has {mapping.image} of shape {shape}, no RGB image; "
            "choose or declare another mapping"
        )
    return None if None in shape else (shape[0], shape[1])


def fitting_mapping(features: Mapping[str, Any]) -> RldsMapping | None:
    """The first declared mapping that fits, if any does."""
    for mapping in MAPPINGS.values():
        try:
            require_fit(mapping, features, "the data set")
        except ValueError:
            continue
        return mapping
    return None
