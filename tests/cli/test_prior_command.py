"""`selfflow prior`: a weak prior from a share of the demonstrations, beside its model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_dataset import SIZE, rt1_episode, write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.rt1.writer import Rt1Writer
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model
from selfflow_robotics.training.weak_prior import share_of_demonstrations
from selfflow_robotics.world_model.priors import give_prior
from selfflow_robotics.world_model.world_model import WorldModel


def make_model(folder: Path, *texts: str) -> Path:
    torch.manual_seed(0)
    sizes = ModelConfig(preset="tiny"), Patches(4), SIZE, RT1_ACTIONS, RT1_STATE
    build_world_model(*sizes, Vocabulary.of(texts)).save_pretrained(str(folder))
    return folder


def test_it_lies_beside_the_model_and_takes_the_place_of_its_own(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_dataset(tmp_path / "data", 25, steps=9)
    model = make_model(tmp_path / "model", "pick apple")
    words = [f"world_model={model}", f"data={data}", "share=0.2", "prior.steps=3"]
    assert main(["prior", *words]) == 0, capfd.readouterr().err
    assert (model / "priors" / "20" / "config.json").is_file()
    world_model = WorldModel.from_pretrained(str(model))
    assert world_model.prior is None
    give_prior(world_model, str(model), "20")
    assert world_model.prior is not None
    assert world_model.config.prior == world_model.prior.config
    assert main(["prior", *words]) == 0
    with pytest.raises(FileNotFoundError, match=r"share=0\.05 data=FOLDER"):
        give_prior(world_model, str(model), "5")
    other = make_model(tmp_path / "other", "pick apple from drawer")
    (model / "priors").rename(other / "priors")
    with pytest.raises(ValueError, match="was fitted to what another model sees or does"):
        give_prior(WorldModel.from_pretrained(str(other)), str(other), "20")


def test_what_an_expert_corrected_is_no_demonstration(tmp_path: Path) -> None:
    with Rt1Writer(tmp_path / "data", SIZE) as writer:
        for seed in range(60):
            source = ("expert", "perturbed", "intervened")[seed % 2 * (1 + seed // 2 % 2)]
            writer.add(replace(rt1_episode(seed), source=source))
    train = OneSide(open_dataset(tmp_path / "data"), "train")
    good = [i for i, e in enumerate(train[i] for i in range(len(train))) if e.source == "expert"]
    good = [i for i in good if train[i].success]
    assert 0 < len(good) < len(train) / 2
    assert share_of_demonstrations(train, 1.0, seed=0).index == good
    some = share_of_demonstrations(train, 0.2, seed=0).index
    assert len(some) == round(0.2 * len(good)) and set(some) < set(good)
