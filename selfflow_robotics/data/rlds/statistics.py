"""Statistics of a data set's actions and states, measured on every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.data.gripper import absolute_gripper

STATISTICS_FILE = "action_statistics.json"


def published_form(
    spec: ActionSpec,
    actions: NDArray[np.float32],
    states: NDArray[np.float32] | None,
    state_spec: StateSpec | None,
    lengths: Sequence[int],
) -> dict[str, Any]:
    """The statistics in the convention of published ones, to compare and to exchange with others.

    A relative gripper is made absolute first (1 open, 0 closed), as Octo, OpenVLA and their
    followers do. The data set's own specification keeps the gripper as it is stored.

    Args:
        actions: (S, A), of all episodes one after another, as stored.
        states: (S, P) or None.
        lengths: steps of every episode.
    """
    actions = actions.copy()
    gripper = spec.gripper
    if spec.relative_grippers:
        column = spec.names.index("gripper")
        ends = np.cumsum(lengths)[:-1]
        parts = np.split(actions[:, column], ends)
        actions[:, column] = np.concatenate([absolute_gripper(part) for part in parts])
        gripper = "absolute, 1 open, 0 closed"
    found: dict[str, Any] = {
        "names": spec.names,
        "gripper": gripper,
        **_moments(actions),
        "num_transitions": len(actions),
        "num_trajectories": len(lengths),
    }
    if states is not None and state_spec is not None:
        found["proprio"] = {"names": state_spec.names, **_moments(states)}
    return found


def _moments(rows: NDArray[np.float32]) -> dict[str, list[float]]:
    return {
        "mean": rows.mean(axis=0, dtype=np.float64).tolist(),
        "std": rows.std(axis=0, dtype=np.float64).tolist(),
        "min": rows.min(axis=0).astype(np.float64).tolist(),
        "max": rows.max(axis=0).astype(np.float64).tolist(),
        "q01": np.quantile(rows, 0.01, axis=0).astype(np.float64).tolist(),
        "q99": np.quantile(rows, 0.99, axis=0).astype(np.float64).tolist(),
    }
