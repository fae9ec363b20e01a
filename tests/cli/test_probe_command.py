"""`selfflow probe` from a data set to a read-out that plans."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_dataset import SIZE, write_dataset

from selfflow_robotics.cli.main import main
from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.planning import Progress, Readout, WeightedSum
from selfflow_robotics.planning.cost import CostConfig, make_objective
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model
from selfflow_robotics.world_model.probe import load_probe
from selfflow_robotics.world_model.world_model import WorldModel

EPISODES = 25  # the 13th and the last are held out


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "train"
    return write_dataset(folder, EPISODES, steps=9)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = Vocabulary.of(["pick apple"])
    build_world_model(
        ModelConfig(preset="tiny"), Patches(4), SIZE, RT1_ACTIONS, RT1_STATE, words
    ).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def probed(dataset: Path, model: Path) -> Path:
    assert main(["probe", f"world_model={model}", f"data={dataset}"]) == 0
    return model


def test_it_is_written_beside_the_model_with_what_it_explains(
    dataset: Path, probed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = WorldModel.from_pretrained(str(probed))
    beside = load_probe(loaded, "state", str(probed))
    assert beside.names == RT1_STATE.names
    words = [f"world_model={probed}", f"data={dataset}", f"out={tmp_path / 'mine'}"]
    assert main(["probe", *words]) == 0
    printed = capfd.readouterr().out
    assert "fitted to 23 episodes; variance explained in 2 held out" in printed
    assert "gripper_closed" in printed and str(tmp_path / "mine") in printed
    again = load_probe(loaded, str(tmp_path / "mine"))
    torch.testing.assert_close(again.weight_FP, beside.weight_FP, rtol=0, atol=0)


def test_few_episodes_are_spread_over_the_data_set(
    dataset: Path, probed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [f"world_model={probed}", f"data={dataset}", f"out={tmp_path / 'few'}"]
    assert main(["probe", *words, "episodes=5"]) == 0
    assert "fitted to 5 episodes; variance explained in 2 held out" in capfd.readouterr().out


def test_what_it_reads_becomes_a_goal_and_a_limit(probed: Path) -> None:
    loaded, name = WorldModel.from_pretrained(str(probed)), str(probed)
    assert isinstance(make_objective(loaded, name, CostConfig()), Progress)
    target = CostConfig(probe="state", target={"x": 0.5})
    assert isinstance(make_objective(loaded, name, target), Readout)
    prices = CostConfig(probe="state", low={"z": 0.7}, high={"z": 1.0}, magnitude=0.1)
    total = make_objective(loaded, name, prices)
    assert isinstance(total, WeightedSum)
    assert [type(term).__name__ for _, term in total.terms] == [
        "Progress",
        "Constraint",
        "ActionMagnitude",
    ]
    with pytest.raises(ValueError, match=r"add cost\.probe="):
        make_objective(loaded, name, CostConfig(target={"x": 0.5}))
    with pytest.raises(ValueError, match="one of them"):
        make_objective(loaded, name, target, Path("goal.png"))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "add data=FOLDER"),
        (["data={dataset}", "world_model=tabletop-small"], "add out=FOLDER"),
        (["data={dataset}", "episodes=0"], "episodes=0"),
        (["data={dataset}", "out={dataset}"], "is not a model's folder"),
    ],
)
def test_what_cannot_be_is_an_error(
    words: list[str], text: str, dataset: Path, model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = [word.format(dataset=dataset) for word in words]
    assert main(["probe", f"world_model={model}", *given]) in (1, 2)
    assert text in capfd.readouterr().err
