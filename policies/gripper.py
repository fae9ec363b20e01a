"""Gripper commands made decisive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec


def snap_gripper(
    actions: NDArray[np.float32], spec: ActionSpec, threshold: float
) -> NDArray[np.float32]:
    """Relative gripper commands below the threshold keep (0), others open or close fully.

    A mean over sampled plans is seldom exactly -1, 0 or 1, although every demonstration is.

    Args:
        actions: (..., A), environment units, with an entry named "gripper" in -1..1.
        spec: what the entries are.
        threshold: in 0..1.

    Returns:
        A changed copy.
    """
    snapped = actions.copy()
    gripper = snapped[..., spec.names.index("gripper")]
    gripper[...] = np.where(np.abs(gripper) < threshold, 0.0, np.sign(gripper))
    return snapped
