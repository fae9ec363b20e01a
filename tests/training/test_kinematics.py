from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import A, P, latent_episodes

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.model.kinematics import Kinematics
from selfflow_robotics.training.kinematics import fit_kinematics


def moved_by(change: np.ndarray, bend: float = 0.0) -> LatentEpisodes:
    """Episodes whose proprioception follows from the last and the action by this matrix."""
    episodes = latent_episodes((40, 30, 50))
    random = np.random.default_rng(0)
    actions = random.uniform(-1, 1, (120, A)).astype(np.float32)
    states = random.standard_normal((120, P)).astype(np.float32)
    for i in set(range(120)) - set(episodes.offsets[:-1].tolist()):
        known = np.hstack([states[i - 1], actions[i], 1.0])
        states[i] = 0.9 * states[i - 1] + known @ change + bend * np.sin(3 * known[:P])
    return replace(episodes, actions=actions, states=states)


def error(kinematics: Kinematics, episodes: LatentEpisodes) -> float:
    """The mean over all frames that follow one."""
    assert episodes.states is not None and episodes.actions is not None
    last = episodes.starts(2)
    found = kinematics(
        torch.from_numpy(episodes.states[last]), torch.from_numpy(episodes.actions[last + 1])
    )
    return float((found - torch.from_numpy(episodes.states[last + 1])).abs().mean())


CHANGE = np.random.default_rng(1).normal(0, 0.1, (P + A + 1, P))


def test_linear_motion_is_found_exactly() -> None:
    episodes = moved_by(CHANGE)
    made = Kinematics(P, A)
    made.start_as_linear()
    fit_kinematics(made, episodes, steps=0)
    assert error(made, episodes) < 1e-3


def test_correction_learns_what_is_not_linear() -> None:
    episodes = moved_by(CHANGE, bend=0.3)
    errors = []
    for steps in (0, 100):
        torch.manual_seed(0)
        made = Kinematics(P, A)
        made.start_as_linear()
        fit_kinematics(made, episodes, steps=steps)
        errors.append(error(made, episodes))
    assert errors[1] < 0.75 * errors[0]


def test_fit_is_left_alone_by_what_trains_next() -> None:
    made = Kinematics(P, A)
    fit_kinematics(made, moved_by(CHANGE), steps=1)
    assert not any(weight.requires_grad for weight in made.parameters())


def test_episodes_that_show_no_motion_are_refused() -> None:
    episodes = latent_episodes((5,))
    with pytest.raises(ValueError, match="with actions and proprioception"):
        fit_kinematics(Kinematics(P, A), replace(episodes, states=None))
    with pytest.raises(ValueError, match="no episode has two frames"):
        fit_kinematics(Kinematics(P, A), latent_episodes((1, 1)))
