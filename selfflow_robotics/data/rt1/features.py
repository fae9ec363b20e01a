"""RT-1's features, and one episode in them as the bytes of a record.

Names, shapes and types are those of fractal20220817_data 0.1.0; only the image size is free.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.episode import require_steps_left
from selfflow_robotics.data.rt1.instruction_embedding import EMBEDDING_SIZE, embed_instruction

OBSERVATIONS: dict[str, tuple[int, ...]] = {
    "base_pose_tool_reached": (7,),
    "gripper_closed": (1,),
    "gripper_closedness_commanded": (1,),
    "height_to_bottom": (1,),
    "orientation_box": (2, 3),
    "orientation_start": (4,),
    "robot_orientation_positions_box": (3, 3),
    "rotation_delta_to_go": (3,),
    "src_rotation": (4,),
    "vector_to_go": (3,),
    "workspace_bounds": (3, 3),
}
"""Shapes of RT-1's numeric observations, all float32, without the instruction's embedding."""

ASPECTS = ("already_success", "feasible", "has_aspects", "success", "undesirable")
ATTRIBUTES = (
    "collection_mode",
    "data_type",
    "env",
    "location",
    "objects_family",
    "task_family",
)
SOURCES = (
    "expert",
    "perturbed",
    "random",
    "intervened",
    "wander",
    "shut",
    "fumble",
    "planner",
    "alone",
)
"""Who acted, stored as attributes/collection_mode(_name)."""

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Rt1Episode:
    """S steps with everything RT-1 stores.

    Raises:
        ValueError: no step, or shapes that disagree with RT-1's.
    """

    images: NDArray[np.uint8]  # (S, height, width, 3)
    observations: Mapping[str, NDArray[np.float32]]  # every key of OBSERVATIONS, (S, *shape)
    actions: NDArray[np.float32]  # (S, 7), RT1_ACTIONS; the last leads nowhere
    instructions: tuple[str, ...]  # S
    success: bool
    source: str  # of SOURCES, or another word
    task: str
    embeddings: NDArray[np.float32] | None = None  # (S, 512); hashed words when None
    demonstrated: NDArray[np.bool_] | None = None  # (S,), see Episode; kept beside the records
    steps_left: NDArray[np.float32] | None = None  # (S,), see Episode; kept beside the records

    def __post_init__(self) -> None:
        steps = len(self.images)
        if steps == 0:
            raise ValueError(f"an episode of {self.task} has no steps; do not write it")
        shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
            "actions": (self.actions.shape, (7,)),
            "instructions": ((len(self.instructions),), ()),
        }
        if self.embeddings is not None:
            shapes["embeddings"] = (self.embeddings.shape, (EMBEDDING_SIZE,))
        if self.demonstrated is not None:
            shapes["demonstrated"] = (self.demonstrated.shape, ())
        if self.steps_left is not None:
            require_steps_left(self.steps_left, steps, f"an episode of {self.task}")
        lacking = sorted(set(OBSERVATIONS) - set(self.observations))
        if lacking:
            raise ValueError(
                f"an episode of {self.task} lacks the observations {lacking}; RT-1 has them all"
            )
        for key, shape in OBSERVATIONS.items():
            shapes[key] = (self.observations[key].shape, shape)
        for key, (given, shape) in shapes.items():
            if given != (steps, *shape):
                raise ValueError(
                    f"an episode of {self.task} has {steps} frames and {key} of shape {given}; "
                    f"give {(steps, *shape)}"
                )

    @property
    def states(self) -> NDArray[np.float32]:
        """(S, 8) proprioception as RT1_STATE names it."""
        keys = ("base_pose_tool_reached", "gripper_closed")
        return np.concatenate([self.observations[key] for key in keys], axis=1)


@lru_cache
def rt1_features(image_size: tuple[int, int]) -> tfds.features.FeaturesDict:
    """RT-1's features with images of image_size = (height, width)."""
    f32 = np.float32

    def tensor(*shape: int, dtype: Any = f32) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype)

    def scalar(dtype: Any) -> tfds.features.Scalar:
        return tfds.features.Scalar(dtype=dtype)

    observation = {key: tensor(*shape) for key, shape in OBSERVATIONS.items()}
    step = {
        "observation": {
            **observation,
            "image": tfds.features.Image(
                shape=(*image_size, 3), dtype=np.uint8, encoding_format="jpeg"
            ),
            "natural_language_embedding": tensor(EMBEDDING_SIZE),
            "natural_language_instruction": tfds.features.Text(),
        },
        "action": {
            "world_vector": tensor(3),
            "rotation_delta": tensor(3),
            "gripper_closedness_action": tensor(1),
            "terminate_episode": tensor(3, dtype=np.int32),
            "base_displacement_vector": tensor(2),
            "base_displacement_vertical_rotation": tensor(1),
        },
        "reward": scalar(f32),
        "is_first": scalar(np.bool_),
        "is_last": scalar(np.bool_),
        "is_terminal": scalar(np.bool_),
    }
    attributes: dict[str, Any] = {}
    for key in ATTRIBUTES:
        attributes[key] = scalar(np.int64)
        attributes[f"{key}_name"] = tfds.features.Text()
    return tfds.features.FeaturesDict(
        {
            "aspects": {key: scalar(np.bool_) for key in ASPECTS},
            "attributes": attributes,
            "steps": tfds.features.Dataset(step),
        }
    )


def serialize(episode: Rt1Episode, image_size: tuple[int, int]) -> bytes:
    """One record of a data set whose images have this (height, width).

    Raises:
        ValueError: the images have another size.
    """
    if episode.images.shape[1:] != (*image_size, 3) or episode.images.dtype != np.uint8:
        raise ValueError(
            f"an episode of {episode.task} has images of shape {episode.images.shape[1:]} and type "
            f"{episode.images.dtype} for a data set of {(*image_size, 3)} uint8; "
            "render or resize them to that size"
        )
    names = {
        "collection_mode": episode.source,
        "data_type": "simulation",
        "env": "mujoco",
        "location": "tabletop",
        "objects_family": "",
        "task_family": episode.task,
    }
    attributes: dict[str, Any] = {f"{key}_name": name for key, name in names.items()}
    attributes |= dict.fromkeys(ATTRIBUTES, 0)
    if episode.source in SOURCES:
        attributes["collection_mode"] = SOURCES.index(episode.source)
    example = {
        "aspects": {
            "already_success": False,
            "feasible": True,
            "has_aspects": True,
            "success": episode.success,
            "undesirable": False,
        },
        "attributes": attributes,
        "steps": [_step(episode, i) for i in range(len(episode.images))],
    }
    record = rt1_features(image_size).serialize_example(example)
    # TFDS leaves the order of the features to chance; the same episode shall be the same bytes.
    return bytes(tf_example_pb2.Example.FromString(record).SerializeToString(deterministic=True))


def _step(episode: Rt1Episode, i: int) -> dict[str, Any]:
    last = i == len(episode.images) - 1
    done = last and episode.success
    action, text = episode.actions[i].astype(np.float32), episode.instructions[i]
    embedding = embed_instruction(text) if episode.embeddings is None else episode.embeddings[i]
    observations = {
        key: episode.observations[key][i].astype(np.float32, copy=False) for key in OBSERVATIONS
    }
    return {
        "observation": {
            **observations,
            "image": _jpeg(episode.images[i]),
            "natural_language_embedding": embedding.astype(np.float32, copy=False),
            "natural_language_instruction": text,
        },
        "action": {
            "world_vector": action[0:3],
            "rotation_delta": action[3:6],
            "gripper_closedness_action": action[6:7],
            "terminate_episode": np.array([last, not last, 0], np.int32),
            "base_displacement_vector": np.zeros(2, np.float32),
            "base_displacement_vertical_rotation": np.zeros(1, np.float32),
        },
        "reward": float(done),
        "is_first": i == 0,
        "is_last": last,
        "is_terminal": done,
    }


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()
