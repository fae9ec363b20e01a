"""What a critic says of true and of imagined frames, in and out of a folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import IMAGE, P, candidate_actions, history, randn, world_model

from selfflow_robotics.world_model.world_model import WorldModel


@pytest.fixture(scope="module")
def model() -> WorldModel:
    return world_model(critic=True)


@torch.no_grad()
def test_steps_left_are_the_critics_of_each_imagined_frame(model: WorldModel) -> None:
    frames, actions, states = history(2, 2)
    context = model.observe(frames, actions, ["pick can", "open drawer"], states)
    future = model.rollout(context, candidate_actions(2, 3, 4))
    found = model.steps_left(context, future)
    assert found.shape == (2, 3, 4, 2) and ((found >= 0) & (found <= 40)).all()
    assert future.states_BKHP is not None and model.critic is not None
    words, _, _ = model.translation.instruction("open drawer", 3)
    latents, state = future.latents_BKHCHW[1, :, 2], future.states_BKHP[1, :, 2]
    seen = future.last_BCHW[1:].expand(3, -1, -1, -1)
    there = model.critic.steps(model.critic(latents, state, words, None, None, seen))
    torch.testing.assert_close(found[1, :, 2], there)
    of_themselves = model.critic.steps(model.critic(latents, state, words))
    torch.testing.assert_close(model.steps_left_of(latents, state, "open drawer"), of_themselves)
    goals = model.goal_frame(np.zeros((2, *IMAGE, 3), np.uint8), np.ones((2, P), np.float32))
    to_goal = model.steps_left(context, future, goals)
    assert to_goal.shape == found.shape and not torch.equal(to_goal, found)


def test_steps_of_models_whose_frames_span_several_are_the_environments(
    model: WorldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = randn(2, 12, 4, 6, seed=0)
    once = model.steps_left_of(latents, None, "pick can")
    monkeypatch.setattr(type(model.tokenizer), "temporal", 4)
    torch.testing.assert_close(model.steps_left_of(latents, None, "pick can"), 4 * once)


def test_a_critic_comes_back_from_a_folder(model: WorldModel, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path / "model"))
    loaded = WorldModel.from_pretrained(str(tmp_path / "model"))
    assert loaded.config.critic == model.config.critic
    latents, states = randn(5, 12, 4, 6, seed=0), randn(5, P, seed=1)
    torch.testing.assert_close(
        loaded.steps_left_of(latents, states, "pick can"),
        model.steps_left_of(latents, states, "pick can"),
        atol=0.5,
        rtol=0,
    )


def test_models_of_before_have_no_critic_and_say_so() -> None:
    old = WorldModel.from_pretrained("tabletop-small")
    with pytest.raises(ValueError, match="has no critic to say how many steps are left"):
        old.steps_left_of(randn(1, 16, 8, 10, seed=0), None, "pick coke can")


def test_nothing_to_ask_for_is_a_sentence(model: WorldModel) -> None:
    with pytest.raises(ValueError, match="needs an instruction or a goal"):
        model.steps_left_of(randn(1, 12, 4, 6, seed=0), None, None)


def test_a_critic_of_another_tokenizer_is_a_sentence(model: WorldModel, tmp_path: Path) -> None:
    model.save_pretrained(str(tmp_path / "model"))
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["critic"]["latent"] = [16, 8, 10]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"critic reads latents of \(16, 8, 10\), the tokenizer"):
        WorldModel.from_pretrained(str(tmp_path / "model"))
    assert model.config.critic is not None
    config["critic"]["latent"] = [12, 4, 6]
    config["critic"]["state_dim"] = 3
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"critic reads proprioception of 3 entries, the model"):
        WorldModel.from_pretrained(str(tmp_path / "model"))
    config["critic"]["state_dim"] = P
    config["critic"]["vocabulary"] = 99
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match="those who read it know"):
        WorldModel.from_pretrained(str(tmp_path / "model"))
    assert replace(model.config, critic=None).to_json()["critic"] is None
