"""World models whose latent frames span several steps: their actions are blocks of steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from selfflow_robotics.envs.mapping import Observations
from selfflow_robotics.policies import PriorPolicy
from tiny_world import FACTOR, IMAGE, A, history, world_model
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.model.dit import DiT
from selfflow_robotics.model.prior import PolicyPrior
from selfflow_robotics.model.tokens import patchify
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.world_model.world_model import WorldModel

BLOCK = 2


class Pairs(Patches):
    """The first frame of a video alone, then the mean of every two."""

    temporal = BLOCK  # type: ignore[assignment]

    def encode_video(self, images: Tensor) -> Tensor:  # type: ignore[override]
        latents = self.encode(images)
        whole = 1 + (len(latents) - 1) // BLOCK * BLOCK
        return torch.cat((latents[:1], (latents[1:whole:2] + latents[2:whole:2]) / 2))

    def decode_video(self, latents: Tensor) -> Tensor:
        return self.decode(torch.cat((latents[:1], latents[1:].repeat_interleave(BLOCK, dim=0))))


@pytest.fixture(scope="module")
def model() -> WorldModel:
    plain = world_model(history_len=2)
    config = replace(
        plain.config,
        action_spec=RT1_ACTIONS.block(BLOCK),
        network=replace(plain.config.network, action_dim=BLOCK * A),
    )
    assert config.prior is not None
    config = replace(config, prior=replace(config.prior, action_dim=BLOCK * A))
    made = WorldModel(config, Pairs(FACTOR).requires_grad_(False))
    torch.manual_seed(0)
    made.network, made.prior = DiT(config.network), PolicyPrior(config.prior)
    for parameter in [*made.network.parameters(), *made.prior.parameters()]:
        torch.nn.init.normal_(parameter, std=0.12)
    return made.eval()


def test_a_block_means_what_its_steps_mean() -> None:
    block = RT1_ACTIONS.block(3)
    assert block.size == 21 and block.rate_hz == pytest.approx(1.0)
    assert block.names[:8] == (*RT1_ACTIONS.names, f"{RT1_ACTIONS.names[0]}+1")
    steps = np.random.default_rng(0).uniform(-1, 1, (4, 3, 7)).astype(np.float32)
    one = RT1_ACTIONS.normalize(steps).reshape(4, 21)
    np.testing.assert_array_equal(block.normalize(steps.reshape(4, 21)), one)
    assert block.step(3) == RT1_ACTIONS


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_history_is_encoded_in_blocks_that_end_now(model: WorldModel, count: int) -> None:
    frames, actions, states = history(2, count)
    seen = model.observe(frames, actions, "pick can", states)
    spare = (count - 1) % BLOCK
    latents = torch.stack(
        [model.tokenizer.encode_video(torch.from_numpy(v)) for v in frames[:, spare:]]
    )
    led_to = torch.from_numpy(RT1_ACTIONS.normalize(actions[:, spare:]))
    led_to = torch.cat((torch.zeros(2, 1, BLOCK * A), led_to.reshape(2, -1, BLOCK * A)), dim=1)
    assert model.state_spec is not None
    state = model.state_spec.normalize(torch.from_numpy(states))[:, spare::BLOCK]
    expected = model.observe_latents(latents[:, -2:], led_to[:, -2:], state[:, -2:], "pick can")
    torch.testing.assert_close(seen.anchor_BNC, expected.anchor_BNC)
    assert seen.cache.frames == expected.cache.frames == min(2, 1 + (count - 1) // BLOCK)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_true_frames_follow_the_blocks_of_what_was_seen(model: WorldModel, count: int) -> None:
    frames, actions, states = history(2, count + 2 * BLOCK)
    spare = (count - 1) % BLOCK
    found = model.seen(frames, torch.from_numpy(actions), states, count)
    latents = [model.tokenizer.encode_video(torch.from_numpy(v)) for v in frames[:, spare:]]
    torch.testing.assert_close(found.latents_BKHCHW[0], torch.stack(latents)[:, -2:])
    assert found.actions_BKHA.shape == (1, 2, 2, BLOCK * A)
    done = found.actions_BKHA.reshape(2, -1, A).numpy()
    np.testing.assert_array_equal(done, actions[:, -2 * BLOCK :])
    seen = model.observe(
        frames[:1, :count], actions[:1, : count - 1], "pick can", states[:1, :count]
    )
    shown = patchify(found.last_BCHW, model.config.patch)
    torch.testing.assert_close(shown, seen.anchor_BNC)
    assert model.state_spec is not None and found.states_BKHP is not None
    felt = model.state_spec.normalize(torch.from_numpy(states))[:, [-1 - BLOCK, -1]]
    torch.testing.assert_close(found.states_BKHP[0], felt)


def test_history_longer_than_it_looks_at_is_refused(model: WorldModel) -> None:
    assert model.history_len == 1 + 2 * BLOCK
    frames, actions, states = history(1, 6)
    with pytest.raises(ValueError, match="6 frames of history; give 1 to 5"):
        model.observe(frames, actions, "pick can", states)


def test_an_imagined_frame_is_shown_as_its_steps(model: WorldModel) -> None:
    frames, actions, states = history(2, 5)
    context = model.observe(frames, actions, "pick can", states)
    future = model.rollout(context, torch.zeros(2, 3, 4, BLOCK * A))
    shown = model.decode(future)
    assert shown.shape == (2, 3, 4 * BLOCK, *IMAGE, 3)
    np.testing.assert_array_equal(shown[:, :, 0], shown[:, :, 1])
    single = model.tokenizer.decode(future.latents_BKHCHW).numpy()
    np.testing.assert_array_equal(shown[:, :, ::BLOCK], single)


def test_a_policy_hands_out_the_steps_of_a_block(model: WorldModel) -> None:
    policy = PriorPolicy(model)
    policy.reset([0], [0])
    frames, _, states = history(1, 5, seed=3)
    given = []
    for step in range(4):
        seen = Observations(frames[:, step], ("pick can",), states[:, step])
        given.append(policy.act(seen, [0]))
    assert [len(decision.actions_HA) for decision in policy.decisions(0)] == [BLOCK, BLOCK]
    assert [decision.step for decision in policy.decisions(0)] == [0, BLOCK]
    context = model.observe(
        frames[:, :1], np.zeros((1, 0, A), np.float32), "pick can", states[:, :1]
    )
    guess = model.guess(context, 1, 1).reshape(BLOCK, A).numpy()
    np.testing.assert_allclose(np.concatenate(given[:BLOCK]), guess, atol=1e-6)
    assert model.decode(policy.imagine(0)).shape == (1, 1, BLOCK, *IMAGE, 3)


def test_one_frame_is_not_enough_to_react_to(model: WorldModel) -> None:
    frames, _, states = history(1, 1)
    with pytest.raises(ValueError, match="this model's span several; use guess"):
        model.react(frames[:, 0], "pick can", states[:, 0])
