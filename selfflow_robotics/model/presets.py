"""Sizes a network comes in, from one that trains in a test to the published 675M."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Width, depth, attention heads, and the width of the MLPs over that of the network."""

    width: int
    depth: int
    heads: int
    mlp_ratio: float = 4.0


PRESETS: dict[str, Preset] = {
    "tiny": Preset(64, 4, 2),
    "small": Preset(256, 6, 4, 3.75),
    "S": Preset(384, 12, 6),
    "B": Preset(768, 12, 12),
    "L": Preset(1024, 24, 16),
    "XL": Preset(1152, 28, 16),
    # Around which cells are mixed (model.cells); the second without attention.
    "cells": Preset(128, 2, 2),
    "cells0": Preset(128, 0, 2),
}


def preset(name: str) -> Preset:
    """The preset of that name; an unknown name is an error that lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f'no preset "{name}"; choose one of {", ".join(PRESETS)}')
    return PRESETS[name]
