"""A world model's critic is fitted once, kept, and judged on what it never saw."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_dataset import write_dataset
from tiny_world import latent_episodes, world_model

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.tokenizers import stored
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import CriticTraining
from selfflow_robotics.training.fitted_critic import add_critic
from selfflow_robotics.world_model.world_model import WorldModel

QUICK = CriticTraining(steps=3, batch_size=8)


@pytest.fixture
def episodes() -> LatentEpisodes:
    return latent_episodes((9, 8, 10, 9))


def test_it_begins_with_what_the_prior_sees(episodes: LatentEpisodes, tmp_path: Path) -> None:
    model = world_model()
    add_critic(model, tmp_path / "critic.pt", episodes, replace(QUICK, learning_rate=1e-9))
    assert model.critic is not None and model.prior is not None
    torch.testing.assert_close(model.critic.heads[0].find.weight, model.prior.find.weight)
    torch.testing.assert_close(model.critic.heads[0].place.bias, model.prior.place.bias)


def test_it_is_fitted_once_and_anew_where_anything_else_is_asked_for(
    episodes: LatentEpisodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "critic.pt"

    def fitted(config: CriticTraining, given: LatentEpisodes) -> torch.Tensor:
        model = world_model(critic=True)
        add_critic(model, kept, given, config, given)
        assert model.critic is not None and model.config.critic is not None
        return torch.cat([value.detach().flatten() for value in model.critic.parameters()])

    first = fitted(QUICK, episodes)
    written = kept.stat().st_mtime_ns
    told = capsys.readouterr()
    assert 'critic, "pick ...": median error' in told.out and "36 held-out" in told.out
    assert torch.equal(fitted(QUICK, episodes), first) and kept.stat().st_mtime_ns == written
    assert "fitted anew" not in capsys.readouterr().err
    assert not torch.equal(fitted(replace(QUICK, steps=4), episodes), first)
    assert "made with other critic.steps; the critic is fitted" in capsys.readouterr().err
    labels = np.ones(len(episodes.told), np.float32)
    fitted(replace(QUICK, steps=4), replace(episodes, steps_left=labels))
    assert "made with other episodes; the critic is fitted" in capsys.readouterr().err


def test_the_critic_alone_is_fitted_to_a_model_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, first, second = write_dataset(tmp_path / "data", 6), tmp_path / "a", tmp_path / "b"
    stored.save(Patches(4), tmp_path / "tokenizer")
    tiny = ["model=tiny", "trainer.steps=1", "trainer.batch_size=2", "trainer.frames=3"]
    words = [f"data={data}", f"tokenizer={tmp_path / 'tokenizer'}", "prior.steps=2", *tiny]
    assert main(["finetune", f"out={first}", *words]) == 0
    few = ["critic.steps=3", "critic.batch_size=8"]
    words = [f"data={data}", f"start={first}", "trainer.steps=0", *few]
    assert main(["finetune", f"out={second}", *words]) == 0
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {name.split(".")[0] for name in after.keys() - before.keys()} == {"critic"}
    configs = [json.loads((folder / "config.json").read_text()) for folder in (first, second)]
    told = {key for key, value in configs[1].items() if value != configs[0].get(key)}
    assert told == {"critic", "weights_sha256"}
    capsys.readouterr()

    stored.save(Patches(2), tmp_path / "other")
    for word in (f"tokenizer={tmp_path / 'other'}", "image_size=[32,48]"):
        assert main(["finetune", f"out={tmp_path / 'c'}", *words, word]) == 1
        given = "another tokenizer" if word[0] == "t" else "image_size=[32, 48]"
        assert f"its tokenizer and images of [16, 24], but this run gives {given};" in (
            capsys.readouterr().err
        )
        assert not (tmp_path / "c").exists()
    same = [f"tokenizer={tmp_path / 'tokenizer'}", "image_size=[16,24]"]
    assert main(["finetune", f"out={tmp_path / 'same'}", *words, *same]) == 0
    capsys.readouterr()

    spec = json.loads((data / "action_spec.json").read_text())
    (data / "action_spec.json").write_text(json.dumps({**spec, "rate_hz": 10.0}))
    assert main(["finetune", f"out={tmp_path / 'c'}", *words]) == 1
    assert "mean different things: rate_hz" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


def test_a_run_ends_with_its_critic(tmp_path: Path) -> None:
    data, out = write_dataset(tmp_path / "data", 6), tmp_path / "out"
    stored.save(Patches(4), tmp_path / "tokenizer")
    words = [f"data={data}", f"tokenizer={tmp_path / 'tokenizer'}", "prior.steps=2", "model=tiny"]
    words += ["trainer.steps=1", "trainer.batch_size=2", "trainer.frames=3"]
    words += ["critic.steps=2", "critic.batch_size=8"]
    assert main(["finetune", f"out={out}", *words]) == 0
    found = WorldModel.from_pretrained(str(out))
    assert found.critic is not None and found.prior is not None
    again = (out / "training" / "critic.pt").stat().st_mtime_ns
    assert main(["finetune", f"out={out}", *words]) == 0
    assert (out / "training" / "critic.pt").stat().st_mtime_ns == again
