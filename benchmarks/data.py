"""Reading, ours against tf.data, on the same two cores and the same episodes.

    python benchmarks/data.py [--json] [--rounds 3] [--seconds 6]

Makes 96 synthetic episodes with RT-1's features, 43 steps on average, 256x320, about 30 kB a frame
as RT-1's are, as TFRecord, and converts them. Every reader gives batches of 16 random clips of 8
frames (uint8) with their actions, mixed from 32 episodes at a time or from more; each runs in a
process of its own, in turns, and its best round counts. tf.data pipelines, all parsing only what is
read, autotuned, prefetched:

- episodes: one random clip of every episode, its frames decoded
- flattened: all clips of every episode, shuffled while encoded in a buffer of 1000, then decoded
- decoded: all frames of every episode decoded once, cut into all clips, shuffled as pixels

Ours is `ClipReader`, which decodes a frame once an epoch too. `latents` are frames from the latent
cache of the same episodes (4x32x40, the shape of Stable Diffusion's) through the loader that
training uses.

Needs the extra [rlds]. Prints `clips_vs_tfdata`, clips a second over the best pipeline's, and
`latents_vs_tfdata`, frames a second from the latent cache over that pipeline's frames a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

SIZE, FRAMES, BATCH = (256, 320), 8, 16
EPISODES, POOL = 96, 32
PIPELINES = ("episodes", "flattened", "decoded")
READERS = ("clips", "latents")
IMAGE = "steps/observation/image"
ACTIONS = {
    "steps/action/world_vector": 3,
    "steps/action/rotation_delta": 3,
    "steps/action/gripper_closedness_action": 1,
}


def make_episodes(folder: Path) -> None:
    """The TFRecord form, its ArrayRecord form and the latent cache."""
    import torch

    from selfflow_robotics.data.rlds.conversion import convert
    from selfflow_robotics.data.rt1.features import OBSERVATIONS, Rt1Episode
    from selfflow_robotics.data.rt1.writer import Rt1Writer
    from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig

    random = np.random.default_rng(0)
    with Rt1Writer(folder / "tfrecord", SIZE, "tfrecord", episodes_per_shard=8) as writer:
        for steps in random.permutation(np.linspace(20, 66, EPISODES).astype(int)):
            writer.add(
                Rt1Episode(
                    images=moving_scene(random, steps),
                    observations={
                        key: random.standard_normal((steps, *shape), np.float32)
                        for key, shape in OBSERVATIONS.items()
                    },
                    actions=random.uniform(-0.2, 0.2, (steps, 7)).astype(np.float32),
                    instructions=("pick apple",) * steps,
                    success=True,
                    source="expert",
                    task="benchmark",
                )
            )
    convert(str(folder / "tfrecord"), folder / "array_record", workers=2)
    torch.manual_seed(0)
    tokenizer = Autoencoder(AutoencoderConfig(channels=4, widths=(8, 8, 8)))
    torch.save(tokenizer.state_dict(), folder / "tokenizer.pt")
    latents(folder)


def moving_scene(random: np.random.Generator, steps: int) -> np.ndarray:
    """Smooth colours that shift from frame to frame, with the noise of a camera."""
    from PIL import Image

    coarse = random.integers(0, 256, (8, 10, 3), np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((SIZE[1] + 2 * steps, SIZE[0])), np.int16)
    frames = np.stack([wide[:, 2 * i : 2 * i + SIZE[1]] for i in range(steps)])
    noise = random.integers(-3, 4, frames.shape, np.int16)
    pixels: np.ndarray = (frames + noise).clip(0, 255).astype(np.uint8)
    return pixels


def clips(folder: Path) -> Iterator[Any]:
    """Our reader of all clips."""
    from clip_reader import ClipReader

    from selfflow_robotics.data.formats import open_dataset

    return iter(ClipReader(open_dataset(folder / "array_record"), FRAMES, BATCH, pool=POOL))


def latents(folder: Path) -> Iterator[Any]:
    """The loader of training on the latent cache."""
    import torch

    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.data.latents.cache import latents_of
    from selfflow_robotics.data.loader import ClipLoader
    from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig

    tokenizer = Autoencoder(AutoencoderConfig(channels=4, widths=(8, 8, 8)))
    tokenizer.load_state_dict(torch.load(folder / "tokenizer.pt", weights_only=True))
    source = open_dataset(folder / "array_record")
    cached = latents_of(
        source, tokenizer, folder / "latents", source.action_spec, source.state_spec
    )
    return ClipLoader(cached, FRAMES, BATCH).batches(0)


def pipeline(folder: Path, kind: str) -> Iterator[Any]:
    """A tf.data pipeline on the TFRecord form."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    auto = tf.data.AUTOTUNE
    features = {
        IMAGE: tf.io.RaggedFeature(tf.string),
        **{key: tf.io.RaggedFeature(tf.float32) for key in ACTIONS},
    }

    def parse(record: Any) -> tuple[Any, Any]:
        found = tf.io.parse_single_example(record, features)
        columns = [tf.reshape(found[key], (-1, size)) for key, size in ACTIONS.items()]
        return found[IMAGE], tf.concat(columns, 1)

    def decode(encoded: Any, actions: Any) -> tuple[Any, Any]:
        frames = [tf.io.decode_jpeg(encoded[i], channels=3) for i in range(FRAMES)]
        return tf.ensure_shape(tf.stack(frames), (FRAMES, *SIZE, 3)), actions

    def one_clip(encoded: Any, actions: Any) -> tuple[Any, Any]:
        last = tf.shape(encoded)[0] - FRAMES + 1
        start = tf.random.uniform((), 0, last, tf.int32)
        return encoded[start : start + FRAMES], actions[start : start + FRAMES]

    def all_clips(frames: Any, actions: Any) -> Any:
        count = tf.shape(actions)[0] - FRAMES + 1
        windows = tf.range(count)[:, None] + tf.range(FRAMES)
        both = tf.data.Dataset.from_tensor_slices(windows)
        return both.map(lambda window: (tf.gather(frames, window), tf.gather(actions, window)))

    def decode_all(encoded: Any, actions: Any) -> tuple[Any, Any]:
        signature = tf.TensorSpec((*SIZE, 3), tf.uint8)

        def one(data: Any) -> Any:
            return tf.ensure_shape(tf.io.decode_jpeg(data, channels=3), (*SIZE, 3))

        return tf.map_fn(one, encoded, fn_output_signature=signature), actions

    files = tf.data.Dataset.list_files(str(folder / "tfrecord" / "*.tfrecord-*"), seed=0).repeat()
    records = files.interleave(
        tf.data.TFRecordDataset, cycle_length=4, num_parallel_calls=auto, deterministic=False
    )
    episodes = records.shuffle(32, seed=0).map(parse, auto, deterministic=False)
    if kind == "episodes":
        drawn = episodes.map(one_clip, auto).map(decode, auto, deterministic=False)
    elif kind == "flattened":
        several = episodes.interleave(all_clips, cycle_length=POOL, num_parallel_calls=auto)
        drawn = several.shuffle(1000, seed=0).map(decode, auto, deterministic=False)
    else:
        pixels = episodes.map(decode_all, auto, deterministic=False)
        several = pixels.interleave(all_clips, cycle_length=POOL, num_parallel_calls=auto)
        drawn = several.shuffle(64, seed=0)
    batches = drawn.batch(BATCH, drop_remainder=True, num_parallel_calls=auto).prefetch(auto)
    return iter(batches.as_numpy_iterator())


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Clips a second, after eight batches to warm up."""
    for batch in itertools.islice(batches, 8):
        del batch
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(batches)
        count += 1
    return count * BATCH / (time.perf_counter() - began)


def measure(folder: Path, what: str, seconds: float) -> None:
    """One round, in this process; prints clips a second."""
    from selfflow_robotics.machine.allocator import keep_memory

    keep_memory()  # as every command does
    own: dict[str, Callable[[Path], Iterator[Any]]] = {"clips": clips, "latents": latents}
    batches = own[what](folder) if what in own else pipeline(folder, what)
    print(rate(batches, seconds))


def machine() -> str:
    """The processor, and how many cores were used."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    model = next((line.partition(": ")[2] for line in names if line.startswith("model name")), "")
    return f"2 cores of {model or platform.processor()}"


def main() -> None:
    """Measure all in turns and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--measure", nargs=2, metavar=("FOLDER", "WHAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("tensorflow") is None:
        parser.error("tf.data is measured beside ours: install selfflow_robotics[rlds]")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    if options.measure is not None:
        measure(Path(options.measure[0]), options.measure[1], options.seconds)
        return
    best = dict.fromkeys((*READERS, *PIPELINES), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        make_episodes(Path(folder))
        frames = sum(path.stat().st_size for path in Path(folder, "tfrecord").glob("*tfrecord-*"))
        for _, what in itertools.product(range(options.rounds), best):
            words = ["--measure", folder, what, "--seconds", str(options.seconds)]
            done = subprocess.run(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True
            )
            best[what] = max(best[what], float(done.stdout.split()[-1]))
    tfdata = max(best[kind] for kind in PIPELINES)
    result: dict[str, Any] = {
        "machine": machine(),
        "clips_per_second": best["clips"],
        **{f"tfdata_{kind}_clips_per_second": best[kind] for kind in PIPELINES},
        "latent_frames_per_second": best["latents"] * FRAMES,
        "bytes_per_frame": frames / (EPISODES * 43),
        "clips_vs_tfdata": best["clips"] / tfdata,
        "latents_vs_tfdata": best["latents"] / tfdata,
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:36} {value if isinstance(value, str) else round(value, 2)}")


if __name__ == "__main__":
    main()
