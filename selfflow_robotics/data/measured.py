"""Statistics that neither a mapping nor a data set tells, measured on every step."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec
from selfflow_robotics.notice import Notice

Numbers = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]
"""Actions (S, A) and states (S, P) of an episode, where it has them."""


def lack_statistics(actions: ActionSpec | None, states: StateSpec | None) -> bool:
    """Whether something is to be measured before these can be normalised."""
    lacks_range = actions is not None and not actions.q01
    return lacks_range or (states is not None and not states.mean)


def with_measured(
    actions: ActionSpec | None, states: StateSpec | None, episodes: Iterable[Numbers], where: str
) -> tuple[ActionSpec | None, StateSpec | None]:
    """Specifications whose statistics are there: those that lack are measured, with a notice.

    Args:
        actions: meaning of the actions; None where there are none.
        states: meaning of the states; None likewise.
        episodes: the numbers of every episode.
        where: what the data set is called in messages.

    Raises:
        ValueError: there is no episode.
    """
    acted: list[NDArray[np.float32]] = []
    been: list[NDArray[np.float32]] = []
    for rows, places in episodes:
        acted += [] if rows is None else [rows]
        been += [] if places is None else [places]
    if not acted and not been:
        raise ValueError(f"{where} has no episode to measure the statistics of its actions on")
    told: list[str] = []
    if actions is not None and not actions.q01:
        actions = actions.with_statistics(np.concatenate(acted))
        told.append("q01 and q99 of the actions")
    if states is not None and not states.mean and been:
        states = states.with_statistics(np.concatenate(been))
        told.append("mean and deviation of the states")
    steps = sum(map(len, acted or been))
    warnings.warn(f"{' and '.join(told)} of {where} are measured on {steps} steps", Notice, 2)
    return actions, states
