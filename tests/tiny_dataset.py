"""Data sets on disk in RT-1's form, small enough for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode
from selfflow_robotics.data.rt1.writer import Rt1Writer

SIZE = (16, 24)


def rt1_episode(seed: int, steps: int = 6, size: tuple[int, int] = SIZE) -> Rt1Episode:
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (steps, 1, 1, 3), dtype=np.uint8)
    return Rt1Episode(
        images=np.ascontiguousarray(np.broadcast_to(colours, (steps, *size, 3))),
        observations={
            key: random.standard_normal((steps, *shape)).astype(np.float32)
            for key, shape in OBSERVATIONS.items()
        },
        actions=random.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32),
        instructions=("pick apple",) * steps,
        success=seed % 3 > 0,
        source="expert",
        task="test",
    )


def write_dataset(
    path: Path, episodes: int, first: int = 0, steps: int = 6, size: tuple[int, int] = SIZE
) -> Path:
    with Rt1Writer(path, size) as writer:
        for seed in range(first, first + episodes):
            writer.add(rt1_episode(seed, steps, size))
    return path
