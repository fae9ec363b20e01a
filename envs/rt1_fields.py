"""The observation fields of an RT-1 record, filled from what the simulated robot knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rt1_fields(
    pose: NDArray[np.float32], closedness: float, start_quaternion: Sequence[float]
) -> dict[str, NDArray[np.float32]]:
    """All fields save image and language, float32.

    Fields whose meaning in the real data is bookkeeping of its collection (boxes, bounds, what is
    left to go) hold the values of the real record.

    Args:
        pose: (8,) proprioception: tool point, quaternion xyzw, how far the gripper is closed.
        closedness: commanded, 0 open .. 1 closed.
        start_quaternion: (4,) wxyz, the tool's when the episode began.
    """
    inf = np.inf
    fields: dict[str, Any] = {
        "base_pose_tool_reached": pose[:7],
        "gripper_closed": pose[7:],
        "gripper_closedness_commanded": [closedness],
        "height_to_bottom": pose[2:3],
        "orientation_start": start_quaternion,
        "orientation_box": [[-inf] * 3, [inf] * 3],
        "robot_orientation_positions_box": np.eye(3),
        "rotation_delta_to_go": [0.0] * 3,
        "src_rotation": [1.0, 0.0, 0.0, 0.0],
        "vector_to_go": [0.0] * 3,
        "workspace_bounds": [[-5.0, -5.0, 0.4], [5.0, 0.0, 0.0], [0.0, 5.0, 1.7]],
    }
    return {name: np.asarray(value, np.float32) for name, value in fields.items()}
