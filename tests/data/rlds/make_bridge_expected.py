"""What TFDS itself, with TensorFlow, returns for the Bridge fixture; writes bridge_expected.json.

TensorFlow decodes JPEG with a fast inexact transform unless told otherwise, so images are kept
twice: as TFDS returns them by default, and as it returns them with TensorFlow's accurate transform,
which is what TFDS without TensorFlow (Pillow or OpenCV) gives, bit for bit.

Run in an environment of its own:

    pip install tensorflow-cpu tensorflow-datasets
    python tests/data/rlds/make_bridge_expected.py ../shared/fixtures/octo_bridge_debug [FILE]
"""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np


def tfds_episodes(folder: Path, split: str) -> list[dict[str, Any]]:
    """Stacked numpy values of every episode, through `builder.as_dataset`."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    undecoded = {"steps": {"observation": {"image_0": tfds.decode.SkipDecoding()}}}
    episodes = []
    for example, raw in zip(
        builder.as_dataset(split, shuffle_files=False),
        builder.as_dataset(split, shuffle_files=False, decoders=undecoded),
        strict=True,
    ):
        steps = list(tfds.as_numpy(example["steps"]))
        encoded = [step["observation"]["image_0"] for step in tfds.as_numpy(raw["steps"])]
        episodes.append(
            {
                "images": np.stack([step["observation"]["image_0"] for step in steps]),
                "accurate_images": np.stack(
                    [
                        tf.io.decode_jpeg(data, dct_method="INTEGER_ACCURATE").numpy()
                        for data in encoded
                    ]
                ),
                "actions": np.stack([step["action"] for step in steps]),
                "states": np.stack([step["observation"]["state"] for step in steps]),
                "instructions": [step["language_instruction"].decode() for step in steps],
            }
        )
    return episodes


def summary(episode: dict[str, Any]) -> dict[str, Any]:
    """Digests of what must be equal, and image means for what must be close."""
    images = episode["images"]
    return {
        "steps": len(images),
        "actions_sha256": sha256(episode["actions"].astype("<f4").tobytes()).hexdigest(),
        "states_sha256": sha256(episode["states"].astype("<f4").tobytes()).hexdigest(),
        "accurate_images_sha256": sha256(episode["accurate_images"].tobytes()).hexdigest(),
        "image_means": [round(float(image.mean()), 4) for image in images],
        "instructions": episode["instructions"],
    }


if __name__ == "__main__":
    source = Path(sys.argv[1])
    expected = {
        split: [summary(episode) for episode in tfds_episodes(source, split)]
        for split in ("train", "val")
    }
    beside = Path(__file__).with_name("bridge_expected.json")
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else beside
    target.write_text(json.dumps(expected) + "\n")
