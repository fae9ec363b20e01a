"""A modality of one's own: an audio stream that trains, is noised at its own ratio and imagined."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import VOCABULARY, A, candidate_actions, history, latent_episodes, streams

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.flow.noising import ROW_S
from selfflow_robotics.model.modality import PUBLISHED, Modality
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_objective, build_world_model
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel

AUDIO = Modality("audio", size=4, tokens=3, mask_ratio=PUBLISHED["audio"].mask_ratio)


def heard(samples: np.ndarray) -> np.ndarray:
    """The tokenizer: a frame's 12 samples as 3 tokens of 4 values."""
    return samples.reshape(len(samples), AUDIO.tokens, AUDIO.size).astype(np.float32)


def episodes() -> LatentEpisodes:
    """Whose sound is the brightness of the picture."""
    given = latent_episodes()
    frames = given.latents_at(np.arange(given.offsets[-1]))
    loud = frames.flatten(1).mean(dim=1).numpy()
    return replace(given, more={"audio": heard(np.repeat(loud[:, None], 12, axis=1))})


def world_model() -> WorldModel:
    torch.manual_seed(0)
    sizes = ModelConfig("tiny"), Patches(2), (8, 12), RT1_ACTIONS, RT1_STATE, VOCABULARY
    return build_world_model(*sizes, more=(AUDIO,))


def test_it_is_noised_at_its_own_ratio() -> None:
    objective = build_objective(ObjectiveConfig(), 2, 1, Patches(2), (AUDIO,))
    given = episodes()
    starts = np.resize(given.starts(3), 400)
    noised = objective.noise(given.clips(starts, 3), streams(400))
    assert noised.student.conditions.row_BTM is not None
    own = noised.student.conditions.row_BTM[..., -AUDIO.tokens :]
    assert abs(float((own == ROW_S).float().mean()) - 0.5) < 0.03
    video = noised.student.conditions.row_BTM[..., :6]
    assert abs(float((video == ROW_S).float().mean()) - 0.1) < 0.03


def test_it_trains_and_is_imagined(tmp_path: Path) -> None:
    objective = build_objective(ObjectiveConfig(), 2, 1, Patches(2), (AUDIO,))
    settings = TrainerConfig(
        steps=60, batch_size=16, frames=3, warmup=5, learning_rate=3e-3, ema=0.9, precision="fp32"
    )
    given = episodes()
    trained = Trainer(world_model(), objective, given, settings, tmp_path).fit()
    assert trained is not None

    def error(model: WorldModel) -> float:
        clips = given.clips(given.starts(3), 3)
        noised = objective.noise(clips, streams(len(clips.latents_BTCHW), seed=9))
        head = objective.projector(model.config.network.width)
        network = model.network
        with torch.no_grad():
            return float(objective(network, network, head, noised).parts["audio"])

    assert error(trained) < 0.5 * error(world_model())

    frames, actions, states = history(2, 2)
    context = trained.eval().observe(frames, actions, "pick can", states)
    future = trained.rollout(context, candidate_actions(2, 3, 2))
    assert future.more["audio"].shape == (2, 3, 2, AUDIO.tokens, AUDIO.size)
    assert future.more["audio"].isfinite().all()
    assert trained.propose(context, 3, 2).shape == (2, 3, 2, A)


def test_their_order_in_the_clips_changes_nothing() -> None:
    touch = Modality("touch", size=2, tokens=2, mask_ratio=0.1)
    objective = build_objective(ObjectiveConfig(), 2, 1, Patches(2), (AUDIO, touch))
    given = episodes()
    clips = given.clips(np.resize(given.starts(3), 8), 3)
    more = {"audio": clips.more["audio"], "touch": torch.ones(8, 3, 2, 2)}
    made = [
        objective.noise(replace(clips, more={name: more[name] for name in names}), streams(8))
        for names in (("audio", "touch"), ("touch", "audio"))
    ]
    one, other = (noised.student for noised in made)
    assert one.conditions.row_BTM is not None and other.conditions.row_BTM is not None
    assert torch.equal(one.conditions.row_BTM, other.conditions.row_BTM)
    assert list(other.frames.more) == ["audio", "touch"], "as the network reads them"
    for name in more:
        assert torch.equal(one.frames.more[name], other.frames.more[name])


def test_what_is_not_declared_is_a_sentence() -> None:
    given = episodes()
    objective = build_objective(ObjectiveConfig(), 2, 1, Patches(2))
    with pytest.raises(ValueError, match="clips hold audio"):
        objective.noise(given.clips(given.starts(3)[:1], 3), streams(1))


def test_it_comes_back_from_a_folder(tmp_path: Path) -> None:
    made = world_model()
    made.save_pretrained(str(tmp_path / "model"))
    found = WorldModel.from_pretrained(str(tmp_path / "model"))
    assert found.config.network.more == (AUDIO,)
