"""Fits a world model's kinematics: the linear map in closed form, then its correction."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..data.clips import LatentEpisodes
from ..model.kinematics import Kinematics

RIDGE = 1e-6
AHEAD, BATCH, LEARNING_RATE = 3, 512, 3e-3


def fit_kinematics(kinematics: Kinematics, episodes: LatentEpisodes, steps: int = 1500) -> None:
    """Fit to all frames, in seconds, without a picture.

    The correction learns to be right after several steps on its own predictions. It is left
    without gradients: what trains the network afterwards does not move it.

    Args:
        steps: of the correction's optimizer.

    Raises:
        ValueError: the episodes have no actions or proprioception, or no two frames in a row.
    """
    if episodes.states is None or episodes.actions is None:
        raise ValueError("kinematics are fitted to episodes with actions and proprioception")
    if not len(episodes.starts(2)):
        raise ValueError("no episode has two frames, from which kinematics could be fitted")
    kinematics.requires_grad_(True)
    _fit_linear(kinematics, episodes.states, episodes.actions, episodes.starts(2))
    frames = min(1 + AHEAD, int(episodes.lengths.max()))
    starts = episodes.starts(frames)[:, None] + np.arange(frames)
    states, actions = (
        torch.from_numpy(rows[starts]).to(kinematics.linear.device)
        for rows in (episodes.states, episodes.actions)
    )
    optimizer = torch.optim.AdamW(kinematics.parameters(), lr=LEARNING_RATE)
    draw = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randint(len(states), (BATCH,), generator=draw).to(states.device)
        state, loss = states[rows, 0], torch.zeros((), device=states.device)
        for f in range(1, frames):
            state = kinematics(state, actions[rows, f])
            # What jumps, as an arm that hits something, must not outweigh what moves freely.
            loss = loss + F.smooth_l1_loss(state, states[rows, f], beta=0.1)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    kinematics.requires_grad_(False)


def _fit_linear(
    kinematics: Kinematics,
    states: NDArray[np.float32],
    actions: NDArray[np.float32],
    last: NDArray[np.int64],
) -> None:
    """Ridge regression of the change after these frames."""
    known = np.hstack([states[last], actions[last + 1], np.ones((len(last), 1))]).astype(float)
    change = (states[last + 1] - states[last]).astype(float)
    # Scaled by the number of frames, so that it weighs the same whatever their number.
    square = known.T @ known + RIDGE * len(known) * np.eye(known.shape[1])
    linear = torch.from_numpy(np.linalg.solve(square, known.T @ change))
    with torch.no_grad():
        kinematics.linear.copy_(linear)
