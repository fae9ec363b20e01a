"""Makes the tiny task of these tests importable from them, and a tiny world model."""

import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest
import selfflow_robotics.envs

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.model.prior import PolicyPrior
from selfflow_robotics.tokenizers.autoencoder import Autoencoder
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.prior import prior_sizes
from selfflow_robotics.training.recipe import build_world_model

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a world model that knows the words of all tasks."""
    words = set()
    for task in selfflow_robotics.envs.TASKS:
        env = gymnasium.make(task, image_size=(64, 80))
        words |= {env.reset(seed=seed)[0]["instruction"] for seed in range(30)}
        env.close()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    world_model = build_world_model(
        ModelConfig(preset="tiny"),
        Autoencoder(),
        (64, 80),
        RT1_ACTIONS,
        RT1_STATE,
        Vocabulary.of([*words, "place apple into top drawer"]),
    )
    sizes = prior_sizes(world_model)
    world_model.prior = PolicyPrior(sizes)
    world_model.config = replace(world_model.config, prior=sizes)
    world_model.save_pretrained(str(folder))
    return folder
