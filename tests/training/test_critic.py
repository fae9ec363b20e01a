"""A critic counts the steps of a chain of places, from labels and from walks alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from chain import PLACES, chain, counted, critic

from selfflow_robotics.data.clips import NEVER
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.training.config import CriticTraining
from selfflow_robotics.training.critic import critic_errors, fit_critic
from selfflow_robotics.training.imagined_frames import Imagined

QUICK = CriticTraining(
    steps=250, batch_size=48, learning_rate=5e-3, noise=0.05, state_noise=0.0, goals=0.0, ahead=2
)


def test_it_counts_as_it_was_told() -> None:
    episodes, places = chain(20)
    labelled = replace(episodes, steps_left=places.astype(np.float32))
    fitted = critic()
    fit_critic(fitted, labelled, replace(QUICK, steps=150))
    torch.testing.assert_close(
        counted(fitted)[1:].mean(dim=1), torch.arange(1.0, PLACES), atol=0.4, rtol=0
    )
    (found,) = critic_errors(fitted, labelled).values()
    assert found.median < 0.4 and found.rank > 0.98 and found.frames == len(places)


def test_states_from_which_nobody_finishes_are_lost() -> None:
    episodes, places = chain(20)
    lost = np.where(places > 4, np.inf, places).astype(np.float32)
    fitted = critic()
    fit_critic(fitted, replace(episodes, steps_left=lost), replace(QUICK, steps=150))
    steps = counted(fitted).mean(dim=1)
    assert (steps[5:] > 13).all() and (steps[:5] < 5).all()


def test_walks_that_stray_teach_how_few_steps_are_needed() -> None:
    """No label, no demonstration: success of walks that take twice as long as needed."""
    episodes, places = chain()
    fitted = critic()
    fit_critic(fitted, episodes, replace(QUICK, ahead=4))
    steps = counted(fitted).mean(dim=1)
    took = episodes.steps_to_success[(places == 4) & (episodes.steps_to_success < NEVER)]
    assert (steps[:6].diff() > 0).all()
    torch.testing.assert_close(steps[1:5], torch.arange(1.0, 5.0), atol=1.0, rtol=0)
    assert steps[4] < took.mean() - 0.5


@pytest.mark.slow
def test_steps_to_a_place_that_is_shown() -> None:
    episodes, _ = chain(100)
    fitted = critic()
    fit_critic(fitted, episodes, replace(QUICK, steps=400, goals=0.7, ahead=4, expectile=0.1))
    steps = counted(fitted, goal=2)[1:].mean(dim=1)  # no walk leaves place 0
    assert steps.argmin() == 1
    assert (steps[1:].diff() > 0).all() and 3 < steps[5] < 6


def test_the_same_seed_fits_the_same_critic() -> None:
    episodes, _ = chain(10)
    found = []
    for _ in range(2):
        fitted = critic()
        fit_critic(fitted, episodes, replace(QUICK, steps=4, goals=0.5))
        found.append(fitted.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_imagined_frames_teach_what_the_true_ones_do() -> None:
    """Frames are imagined as negatives here; the critic comes to read both."""
    episodes, places = chain(20)
    labelled = replace(episodes, steps_left=places.astype(np.float32))
    negatives = replace(labelled, latents=JoinedRows([-np.asarray(labelled.latents)]))
    dreamt = Imagined(negatives, np.arange(len(labelled.told)))
    fitted = critic()
    fit_critic(fitted, labelled, replace(QUICK, imagined=0.5), dreamt)
    for sign in (1, -1):
        steps = counted(fitted, sign=sign).mean(dim=1)
        torch.testing.assert_close(steps[1:], torch.arange(1.0, PLACES), atol=0.7, rtol=0)


@pytest.mark.parametrize("lacking", ["success", "instructions"])
def test_nothing_that_tells_a_number_of_steps_is_a_sentence(lacking: str) -> None:
    episodes, _ = chain(5)
    failed = np.full(len(episodes.told), NEVER, np.float32)
    without = (
        replace(episodes, steps_to_success=failed)
        if lacking == "success"
        else replace(episodes, words=None)
    )
    with pytest.raises(ValueError, match=r"nothing tells a critic .* critic.steps=0"):
        fit_critic(critic(), without, QUICK)
