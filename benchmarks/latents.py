"""Frames a second read as clips of latents, and read and decoded from ArrayRecord, on one core.

    python benchmarks/latents.py [--json]

Clips of 8 frames, 32 a batch, in training's shuffled order, from files that the system holds in
memory. Latents are those of 256x320 images: 8x8 pixels to 4 channels, and 16x16 to 48 (each of
these of 4 frames of video, counted once). Their values are random: reading does not depend on them.
The baseline reads episodes of as many frames, JPEG of 256x320, in order, and decodes each frame
once: no encoding, and nothing decoded is thrown away. Then, the share of its time that a step of
30 ms of computing waits for data, with 0, 1 and 2 threads that read ahead.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from selfflow_robotics.envs.physics_video import PhysicsVideo

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.data.latents.parts import Part, read_part, write_part
from selfflow_robotics.data.loader import ClipLoader
from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode
from selfflow_robotics.data.rt1.writer import Rt1Writer

FRAMES, BATCH, LENGTH = 8, 32, 40
EPISODES, PARTS = 250, 4
SHAPES = {"f8c4": (4, 32, 40), "f16c48": (48, 16, 20)}
SECONDS = 3.0


def write_latents(folder: Path, shape: tuple[int, ...]) -> LatentEpisodes:
    """A cache of random latents, opened as training opens it."""
    random = np.random.default_rng(0)
    for number in range(PARTS):
        count = EPISODES * LENGTH
        values = random.standard_normal((LENGTH, *shape), np.float32).astype(np.float16)
        latents = LatentEpisodes(
            latents=JoinedRows([values] * EPISODES),
            actions=random.standard_normal((count, 7), np.float32),
            states=random.standard_normal((count, 8), np.float32),
            demonstrated=np.ones(count, np.bool_),
            texts=np.array(["pick apple"]),
            told=np.zeros(count, np.int32),
            steps_to_success=np.zeros(count, np.float32),
            offsets=np.arange(EPISODES + 1) * LENGTH,
            ids=np.array([f"train/{i}" for i in range(EPISODES)]),
        )
        write_part(folder, number, Part(latents))
    return LatentEpisodes.join([read_part(folder, number).latents for number in range(PARTS)])


def rate(step: Callable[[int], int]) -> float:
    """Frames a second of a step that says how many it gave."""
    frames, number, began = 0, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < SECONDS:
        frames += step(number)
        number += 1
    return frames / elapsed


def decoded(folder: Path) -> float:
    """Frames a second of the baseline."""
    drawn = PhysicsVideo(4, LENGTH, (256, 320), supersample=1)
    images = [drawn[i].images for i in range(4)]
    with Rt1Writer(folder, (256, 320)) as writer:
        for number in range(40):
            observations = {
                key: np.zeros((LENGTH, *shape), np.float32) for key, shape in OBSERVATIONS.items()
            }
            actions = np.zeros((LENGTH, 7), np.float32)
            told = ("pick apple",) * LENGTH
            frames = images[number % 4]
            writer.add(Rt1Episode(frames, observations, actions, told, True, "expert", "test"))
    source = open_dataset(folder)
    source[0]
    return rate(lambda number: len(source[number % len(source)].images))


def waiting(loader: ClipLoader, workers: int) -> float:
    """Share of the time that training steps wait for data."""
    weight = torch.randn(512, 512)
    batches, waited = loader.batches(0, workers), 0.0
    next(batches)
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        asked = time.perf_counter()
        next(batches)
        got = time.perf_counter()
        waited += got - asked
        while time.perf_counter() - got < 0.03:
            weight @ weight
    return waited / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", ".")) as temporary:
        folder = Path(temporary)
        loaders = {}
        for name, shape in SHAPES.items():
            (folder / name).mkdir()
            loaders[name] = ClipLoader(write_latents(folder / name, shape), FRAMES, BATCH)
        for name, loader in loaders.items():
            for workers in (0, 1, 2):
                found[f"{name}_waiting_{workers}_threads"] = waiting(loader, workers)
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        found["decoded"] = decoded(folder / "episodes")
        for name, loader in loaders.items():

            def read(step: int, loader: ClipLoader = loader) -> int:
                return loader.batch(step).clips.latents_BTCHW.shape[:2].numel()

            found[name] = rate(read)
            found[f"{name}_vs_decoded"] = found[name] / found["decoded"]
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, value in found.items():
        share = "waiting" in name or "_vs_" in name
        print(f"{name:28} {value:10.3f}" if share else f"{name:28} {value:10.0f} frames/s")


if __name__ == "__main__":
    main()
