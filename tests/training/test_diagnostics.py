from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_world import IMAGE, PATCH, A, latent_episodes, world_model

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.diagnostics import Diagnosis, diagnose, share_unexplained
from selfflow_robotics.training.recipe import build_world_model


@pytest.fixture(scope="module")
def episodes() -> LatentEpisodes:
    return latent_episodes()


def test_a_model_that_ignores_actions_has_ratio_1_and_a_warning(episodes: LatentEpisodes) -> None:
    model = world_model(history_len=2)
    network = model.network
    with torch.no_grad():
        for part in (network.tokens_in.action, network.conditioning.action[0]):  # type: ignore[index]
            part.weight.zero_()  # type: ignore[union-attr]
    found = diagnose(model, episodes)
    assert found.shuffled_ratio == 1.0
    assert found.warning is not None
    assert "ignores actions" in found.warning and "1.00 times" in found.warning


def test_a_model_that_listens_to_actions_has_another_ratio(episodes: LatentEpisodes) -> None:
    assert diagnose(world_model(history_len=2), episodes).shuffled_ratio != 1.0


def test_a_new_model_is_as_good_as_keeping_the_last_frame(episodes: LatentEpisodes) -> None:
    model = build_world_model(
        ModelConfig("tiny", PATCH), Patches(2), IMAGE, RT1_ACTIONS, RT1_STATE, Vocabulary(())
    )
    found = diagnose(model.eval(), episodes)
    assert found.copy_ratio == pytest.approx(1.0, abs=1e-3)
    assert found.shuffled_ratio == 1.0


def test_errors_equal_those_of_imagined_frames(episodes: LatentEpisodes) -> None:
    """One clip after another, from what a user of the world model sees."""
    model = world_model(history_len=2)
    assert episodes.actions is not None and episodes.states is not None
    errors, copies = [], []
    for start in episodes.starts(3):
        now, after = slice(start, start + 2), start + 2
        latents = episodes.latents_at(np.arange(start, start + 3))[None]
        context = model.observe_latents(
            latents[:, :2],
            torch.from_numpy(episodes.actions[now])[None],
            torch.from_numpy(episodes.states[now])[None],
        )
        action = RT1_ACTIONS.denormalize(torch.from_numpy(episodes.actions[after]))
        future = model.rollout(context, action.view(1, 1, 1, A)).latents_BKHCHW[0, 0, 0]
        errors.append(float(((future - latents[0, 2]) ** 2).mean()))
        copies.append(float(((latents[0, 1] - latents[0, 2]) ** 2).mean()))
    found = diagnose(model, episodes)
    assert found.true_actions == pytest.approx(np.mean(errors), rel=1e-4)
    assert found.copy == pytest.approx(np.mean(copies), rel=1e-4)


def test_proposals_explain_all_none_or_part_of_what_was_demonstrated() -> None:
    shown = torch.randn(50, A, generator=torch.Generator().manual_seed(0))
    assert share_unexplained(shown, shown) == 0.0
    usual = shown.mean(dim=0).expand_as(shown)
    assert share_unexplained(usual, shown) == pytest.approx(1.0)
    assert share_unexplained((usual + shown) / 2, shown) == pytest.approx(0.25)
    assert share_unexplained(shown[:1], shown[:1]) is None


def test_only_demonstrations_are_compared_with_proposals(episodes: LatentEpisodes) -> None:
    model = world_model(history_len=2)
    judged = diagnose(model, episodes)
    assert judged.unexplained is not None and judged.unexplained > 0.5
    nothing = replace(episodes, demonstrated=np.zeros(len(episodes.latents), np.bool_))
    assert diagnose(model, nothing) == replace(judged, unexplained=None)


def test_the_same_seed_gives_the_same_figures(episodes: LatentEpisodes) -> None:
    model = world_model(history_len=2)
    assert diagnose(model, episodes, clips=4) == diagnose(model, episodes, clips=4)
    assert diagnose(model, episodes, clips=4) != diagnose(model, episodes, clips=4, seed=1)


def test_warnings_name_what_is_wrong() -> None:
    assert Diagnosis(true_actions=1.0, shuffled_actions=2.0, copy=3.0).warning is None
    worse = Diagnosis(true_actions=1.0, shuffled_actions=2.0, copy=0.5).warning
    assert worse is not None
    assert "worse than keeping the last frame: 0.50 times" in worse


def test_episodes_that_cannot_be_judged_by_are_sentences(episodes: LatentEpisodes) -> None:
    model = world_model(history_len=2)
    with pytest.raises(ValueError, match="needs episodes with actions"):
        diagnose(model, replace(episodes, actions=None))
    with pytest.raises(ValueError, match="hold 1 clips of 3 frames; give more"):
        diagnose(model, latent_episodes((3, 2)))
