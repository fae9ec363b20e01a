"""What a data set can teach about actions: how much they vary where the state is the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.data.episode import Dataset


def excitation(source: Dataset, spec: ActionSpec, most: int = 300) -> float:
    """Least eigenvalue of the covariance of normalised actions given proprioception and task.

    The error of a model under other actions than the data's grows as one over it (arXiv
    2607.22430). What the state says of an action is taken out by a least-squares fit of quadratic
    terms, an instruction at a time.

    Args:
        spec: normalises.
        most: episodes that are read, spread over the source.

    Raises:
        ValueError: the episodes have no actions, or fewer frames than the fit has terms.
    """
    by_text: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for i in np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).astype(int)):
        episode = source[int(i)]
        if episode.actions is None:
            raise ValueError(f"episode {episode.id} has no actions, which excitation is about")
        told = episode.instructions[0] if episode.instructions else ""
        states = np.zeros((len(episode), 0)) if episode.states is None else episode.states
        actions = np.asarray(spec.normalize(episode.actions), np.float64)
        by_text.setdefault(told, []).append((actions, np.asarray(states, np.float64)))
    left = [
        _unexplained(*map(np.concatenate, zip(*rows, strict=True))) for rows in by_text.values()
    ]
    kept = [rest for rest in left if rest is not None]
    if not kept:
        raise ValueError(f"{source.name} has too few frames of any instruction to tell; give more")
    return float(np.linalg.eigvalsh(np.cov(np.concatenate(kept).T))[0])


def _unexplained(
    actions: NDArray[np.float64], states: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Actions less what a quadratic function of the state says of them; None of too few."""
    scale = states.std(axis=0)
    centred = (states - states.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
    terms = np.concatenate([np.ones((len(states), 1)), centred, centred**2], axis=1)
    if len(actions) < 4 * terms.shape[1]:
        return None
    weights, *_ = np.linalg.lstsq(terms, actions, rcond=None)
    return np.asarray(actions - terms @ weights)
