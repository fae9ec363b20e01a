"""What a frame teaches: labels, demonstrations, what its episode took, what the critic says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import latent_episodes

from selfflow_robotics.data.clips import NEVER, LatentEpisodes
from selfflow_robotics.model.step_chances import chances_of
from selfflow_robotics.training.step_targets import (
    StepTargets,
    known_steps,
    later_by,
)


@pytest.fixture
def episodes() -> LatentEpisodes:
    """An expert's, one that strays before frame 7, and one that fails."""
    made = latent_episodes((4, 5, 3))
    shown, steps = np.ones(12, np.bool_), made.steps_to_success.copy()
    shown[7] = False
    shown[9:], steps[9:] = False, NEVER
    return replace(made, demonstrated=shown, steps_to_success=steps)


def test_an_experts_steps_are_known_and_a_strayers_from_where_he_strayed_last(
    episodes: LatentEpisodes,
) -> None:
    nan = np.nan
    expected = [3, 2, 1, 0, nan, nan, nan, 1, 0, nan, nan, nan]
    np.testing.assert_array_equal(known_steps(episodes), np.float32(expected))


def test_labels_count_before_what_was_demonstrated(episodes: LatentEpisodes) -> None:
    labels = np.full(12, np.nan, np.float32)
    labels[[0, 5, 9]] = 2, 9, np.inf
    found = known_steps(replace(episodes, steps_left=labels))
    np.testing.assert_array_equal(found[[0, 1, 5, 9]], np.float32([2, 2, 9, np.inf]))
    assert np.isnan(found[[4, 6, 10, 11]]).all()


def test_of_others_what_comes_soon_is_counted_and_what_does_not_is_asked_for(
    episodes: LatentEpisodes,
) -> None:
    targets = StepTargets(episodes, ahead=2)
    asked = targets.of_words(np.array([0, 4, 6, 9, 10]))
    np.testing.assert_array_equal(asked.steps, np.float32([3, np.nan, 2, np.nan, np.nan]))
    assert asked.sure.tolist() == [True, False, False, False, False]
    assert asked.gap[[1, 3, 4]].tolist() == [2, 2, 1]
    assert targets.frames.tolist() == list(range(11)), "the last frame of a failure says nothing"


def test_an_instruction_that_changes_ends_what_its_frames_teach() -> None:
    made = latent_episodes((6,))
    texts = np.array(["open drawer", "pick can"])
    told = replace(
        made,
        texts=texts,
        told=np.array([0, 0, 0, 1, 1, 1], np.int32),
        steps_to_success=np.full(6, NEVER, np.float32),
        demonstrated=np.zeros(6, np.bool_),
    )
    assert StepTargets(told, 4).of_words(np.arange(6)).gap.tolist() == [2, 1, 0, 2, 1, 0]


def test_goals_are_later_frames_of_the_whole_episode_or_any_others(
    episodes: LatentEpisodes,
) -> None:
    targets, frames = StepTargets(episodes, ahead=1), np.full(4000, 4)
    asked = targets.of_goals(frames, torch.Generator().manual_seed(0))
    assert asked.goals is not None and not asked.sure.any()
    share = np.bincount(asked.goals, minlength=12) / 4000
    np.testing.assert_allclose(share[4:9], 0.75 / 5 + 0.25 / 12, atol=0.02)
    np.testing.assert_allclose(share[[0, 1, 2, 3, 9, 10, 11]], 0.25 / 12, atol=0.02)
    later = asked.goals >= 9
    assert np.isnan(asked.steps[later]).all()
    assert set(asked.steps[asked.goals == 5].tolist()) >= {1.0}


def test_chances_have_the_steps_as_their_mean_and_what_is_too_far_is_lost() -> None:
    chance = chances_of(torch.tensor([5.0, 2.5, 10.0, 400.0]), 10)
    torch.testing.assert_close(chance.sum(dim=1), torch.ones(4))
    mean = chance @ torch.arange(11.0)
    torch.testing.assert_close(mean[:2], torch.tensor([5.0, 2.5]), atol=0.02, rtol=0)
    assert (chance[:2, -1] == 0).all() and (chance[2:, -1] == 1).all()


def test_later_moves_chances_and_what_is_lost_stays_lost() -> None:
    chance = torch.tensor([[[0.5, 0.25, 0.125, 0.125]]])
    expected = torch.tensor([[[0.0, 0.5, 0.25, 0.25]]])
    torch.testing.assert_close(later_by(chance, torch.tensor([1])), expected)
    torch.testing.assert_close(later_by(chance, torch.tensor([0])), chance)


def test_labels_are_believed_as_they_are_and_the_rest_is_what_was_shown() -> None:
    labels = np.float32([4, np.inf, np.nan, 5, np.nan, 20, 19, 18, np.nan, 3])
    given = replace(latent_episodes((5, 3, 2)), steps_left=labels)
    found = known_steps(given)
    known = ~np.isnan(labels)
    np.testing.assert_array_equal(found[known], labels[known])
    shown = known_steps(replace(given, steps_left=None))
    np.testing.assert_array_equal(found[~known], shown[~known])
