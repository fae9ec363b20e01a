"""Actions of networks whose frames see the last one alone, denoised together with these."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from selfflow_robotics.policies.build import make_policy
from tiny_world import PATCH, A, C, N, cells_model, history, latent_episodes, randn, seeded
from torch import Tensor

from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.objectives import FlowMatching
from selfflow_robotics.flow.samplers import steps_along
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.model.attention import Cache
from selfflow_robotics.model.dit import Conditions, DiT
from selfflow_robotics.model.modality import ACTION, VIDEO
from selfflow_robotics.model.tokens import Frames, patchify
from selfflow_robotics.world_model.imagination.denoising import jointly
from selfflow_robotics.world_model.world_model import WorldModel

KINDS = {"alone": (0, True), "attention": (2, True), "history": (2, False)}


def acting(kind: str = "alone", seed: int = 0) -> WorldModel:
    depth, markov = KINDS[kind]
    return cells_model(seed, depth=depth, markov=markov, acting=True)


def proposed(model: WorldModel, told: str = "pick can", horizon: int = 3, **shown: int) -> Tensor:
    frames, past, states = history(1, 1, **shown)
    context = model.observe(frames, past, told, states)
    return model.propose(context, 2, horizon, generator=[seeded(1)])


@pytest.mark.parametrize("kind", KINDS)
def test_proposals_follow_what_is_seen_and_told(kind: str) -> None:
    model = acting(kind)
    actions = proposed(model)
    assert actions.shape == (1, 2, 3, A) and torch.equal(actions, proposed(model))
    for other in (proposed(model, "open drawer"), proposed(model, seed=3)):
        assert (actions - other).abs().max() > 1e-5


def test_what_follows_later_leaves_the_first_action_as_it_is() -> None:
    model = acting()
    noise = {
        VIDEO: randn(1, 2, N, C, seed=1),
        ACTION: randn(1, 2, A, seed=2),
        "proprioception": randn(1, 2, 8, seed=3),
    }

    def acted(frames: int) -> Tensor:
        values = {name: value[:, :frames] for name, value in noise.items()}
        anchor, told = randn(1, N, C, seed=4), randn(1, 32, seed=5)
        given = Frames(values[VIDEO]).with_values(values)
        state = randn(1, 8, seed=6)
        made = jointly(model.network, given, anchor, Cache((), 0), steps_along(2), told, state)
        assert made.action_BTA is not None
        return made.action_BTA

    with torch.no_grad():
        torch.testing.assert_close(acted(2)[:, :1], acted(1))


def test_an_untrained_network_takes_actions_for_zero_at_any_noise() -> None:
    network = DiT(acting().network.config)
    action, times = randn(2, 3, A, seed=3), torch.rand(2, 3, 1, generator=seeded(0)).clamp(min=0.1)
    given = Frames(randn(2, 3, N, C, seed=1), randn(2, 3, N, C, seed=2), action)
    velocity = network(given, Conditions(times)).action_BTA
    assert velocity is not None
    torch.testing.assert_close(action - times * velocity, torch.zeros_like(action))


def test_frames_of_a_clip_follow_the_true_one_before_each_and_count_where_demonstrated() -> None:
    given = latent_episodes((9,)).clips(latent_episodes((9,)).starts(5), 5)
    shown = torch.ones(len(given.latents_BTCHW), 5, dtype=torch.bool)
    shown[:, 2] = False
    noising = Noising(TimestepDistribution(), 0.0, (0.0, 1.0, 0.0), state_drop=0.0, alone=True)
    objective = FlowMatching(noising, PATCH)
    streams = [seeded(b) for b in range(len(shown))]
    noised = objective.noise(replace(given, imitate_BT=shown), streams)
    assert noised.counts_BT["action"].tolist() == [[False, True, False, True, True]] * len(shown)
    assert noised.clean_BT.tolist() == [[True, False, False, False, False]] * len(shown)
    anchor = noised.student.frames.anchor_BTNC
    assert anchor is not None and not anchor[:, 0].any()
    truth = patchify(given.latents_BTCHW, PATCH)
    torch.testing.assert_close(anchor[:, 1:], truth[:, :-1])


def test_what_is_demonstrated_is_learnt() -> None:
    model = acting()
    network = DiT(model.config.network).train()
    episodes = latent_episodes((9,))
    noising = Noising(TimestepDistribution(shift=5.0), 0.0, (0.0, 1.0, 0.0), alone=True)
    objective = FlowMatching(noising, PATCH)
    noised = objective.noise(episodes.clips(episodes.starts(3), 3), [seeded(b) for b in range(7)])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = objective(network, network, torch.nn.Identity(), noised).parts["action"]
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_refined_actions_stay_at_time_0_and_move_beyond(kind: str) -> None:
    model = acting(kind)
    frames, past, states = history(1, 1)
    context = model.observe(frames, past, "pick can", states)
    actions = proposed(model)
    torch.testing.assert_close(model.refine(context, actions, 0.0), actions, atol=1e-5, rtol=0)
    assert (model.refine(context, actions, 0.8) - actions).abs().max() > 1e-5


def test_a_folder_keeps_what_it_proposes_and_the_policy_is_there(tmp_path: Path) -> None:
    acting().save_pretrained(str(tmp_path / "model"))
    model = WorldModel.from_pretrained(str(tmp_path / "model"))
    assert model.config.network.acting
    again = WorldModel.from_pretrained(str(tmp_path / "model"))
    torch.testing.assert_close(proposed(again), proposed(model))
    assert make_policy("joint", model, None).name == "joint"


def test_reading_cells_needs_cells() -> None:
    config = acting().network.config
    with pytest.raises(ValueError, match="needs both: actions, and cells"):
        replace(config, cells=0, depth=1)
