"""Does a mapping fit a data set, and which one does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from selfflow_robotics.data.mapping_fit import require_entries, require_keys
from selfflow_robotics.data.rlds.mappings import MAPPINGS, RldsMapping


def require_fit(
    mapping: RldsMapping, features: Mapping[str, Any], where: str
) -> tuple[int, int] | None:
    """Height and width of the images among these flat features; None where they are free.

    Raises:
        ValueError: a feature that the mapping reads is absent or has another size.
    """
    wanted = [*(f"steps/{key}" for key in mapping.step_keys), *mapping.episode_keys]
    actions = [f"steps/{key}" for key in mapping.actions]
    require_keys(where, mapping.name, wanted, actions, features)

    def sizes(keys: tuple[str, ...]) -> dict[str, int]:
        return {key: int(np.prod(features[f"steps/{key}"].shape)) for key in keys}

    if actions:
        held = sizes(mapping.actions)
        require_entries(where, mapping.name, "actions", held, mapping.action_spec)
    require_entries(where, mapping.name, "states", sizes(mapping.states), mapping.state_spec)
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
