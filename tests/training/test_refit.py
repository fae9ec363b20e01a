"""A world model is trained on as what it is: what is given no steps stays, to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_dataset import SIZE, write_dataset
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import (
    CriticTraining,
    ModelConfig,
    ObjectiveConfig,
    PriorTraining,
    TrainerConfig,
)
from selfflow_robotics.training.recipe import build_world_model
from selfflow_robotics.training.refit import refit, require_refittable
from selfflow_robotics.world_model.world_model import WorldModel

UNROLLED = ObjectiveConfig("unrolled", shift=1.0, ahead=2)
TRAINER = TrainerConfig(steps=2, batch_size=2, frames=4)
FEW = CriticTraining(2, batch_size=4)


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    words = Vocabulary.of(["pick apple", "close drawer"])  # more than the data say
    cells = ModelConfig("cells0", history_len=1, cells=8, kinematics=True, markov=True)
    return build_world_model(cells, Patches(4), SIZE, RT1_ACTIONS, RT1_STATE, words).eval()


def kept(model: WorldModel, part: str) -> dict[str, Tensor]:
    state = model.state_dict().items()
    return {name: value.clone() for name, value in state if name.startswith(f"{part}.")}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_each_part_is_trained_on_alone(model: WorldModel, tmp_path: Path) -> None:
    data = [open_dataset(write_dataset(tmp_path / "data", 8))]
    vocabulary = model.config.vocabulary
    all_parts = {"prior": PriorTraining(2, batch_size=4), "critic": FEW}
    first = refit(model, "it", data, tmp_path / "a", **all_parts)
    assert first is not None and first.prior is not None and first.critic is not None
    parts = {name: kept(first, name) for name in ("network", "prior", "critic", "tokenizer")}

    trained = refit(first, "it", data, tmp_path / "b", objective=UNROLLED, trainer=TRAINER)
    assert trained is not None and trained.config.vocabulary == vocabulary
    assert not same(kept(trained, "network"), parts["network"])
    for name in ("prior", "critic", "tokenizer"):
        assert same(kept(trained, name), parts[name]), name
    trained.save_pretrained(str(tmp_path / "world"))
    assert WorldModel.from_pretrained(str(tmp_path / "world")).critic is not None


def test_a_critic_goes_on_from_the_one_there_is(model: WorldModel, tmp_path: Path) -> None:
    data = [open_dataset(write_dataset(tmp_path / "data", 8))]
    first = refit(model, "it", data, tmp_path / "a", critic=FEW)
    assert first is not None
    before = kept(first, "critic")
    still = replace(FEW, learning_rate=1e-12, weight_decay=0.0)
    second = refit(first, "it", data, tmp_path / "b", critic=still)
    assert second is not None
    for name, value in kept(second, "critic").items():
        torch.testing.assert_close(value, before[name])


def test_another_objective_than_it_was_made_for_is_refused(
    model: WorldModel, tmp_path: Path
) -> None:
    data = [open_dataset(write_dataset(tmp_path / "data", 2))]
    require_refittable(model, "it", data, UNROLLED, TRAINER)
    with pytest.raises(ValueError, match=r"it was trained with objective.shift=1 and"):
        require_refittable(model, "it", data, ObjectiveConfig(), TRAINER)
    with pytest.raises(ValueError, match=r"asks for .*objective.shortcut=0.5"):
        require_refittable(model, "it", data, replace(UNROLLED, shortcut=0.5), TRAINER)
