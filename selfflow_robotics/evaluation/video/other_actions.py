"""Actions that were not taken, to see whether a world model heeds them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.data.episode import Episode


def shuffled(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """The actions of another episode, over again where it is shorter; (S, A)."""
    source = next((e for e in others if e.actions is not None), None)
    actions = _actions(source or shown)[:-1]
    if source is None:
        actions = np.roll(actions, len(actions) // 2, axis=0)
    return np.resize(actions, _actions(shown).shape)


def zero(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """No displacement, the gripper kept; (S, A)."""
    return np.zeros_like(_actions(shown))


def mirrored(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """The actions seen in a mirror along the robot's middle: left is right; (S, A).

    Raises:
        ValueError: actions without the entries y, roll and yaw.
    """
    lacking = [name for name in ("y", "roll", "yaw") if name not in spec.names]
    if lacking:
        raise ValueError(
            f"actions with the entries {spec.names} cannot be mirrored, {lacking[0]} is lacking; "
            "use other=shuffled or other=zero"
        )
    actions = _actions(shown).copy()
    actions[:, [spec.names.index(name) for name in ("y", "roll", "yaw")]] *= -1
    low, high = (np.asarray(bound, np.float32) for bound in (spec.low, spec.high))
    return np.clip(actions, low, high)


OTHER_ACTIONS: dict[str, Callable[[Episode, list[Episode], ActionSpec], NDArray[np.float32]]] = {
    "shuffled": shuffled,
    "zero": zero,
    "mirrored": mirrored,
}


def _actions(episode: Episode) -> NDArray[np.float32]:
    if episode.actions is None:
        raise ValueError(
            f"episode {episode.id} has no actions to imagine with; use a data set with actions"
        )
    return episode.actions
