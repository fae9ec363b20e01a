"""The examples of docstrings are true, with a tiny world model and what it saw at hand."""

from __future__ import annotations

import doctest
import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tensorflow_datasets as tfds
import torch
from tiny_dataset import rt1_episode, write_dataset
from tiny_world import IMAGE, N, candidate_actions, episode, history, latent_episodes, world_model

from selfflow_robotics import planning, policies, tokenizers
from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.lerobot.export import export_lerobot
from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.objectives import SelfFlow
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.model.critic import Critic
from selfflow_robotics.training.config import TrainerConfig
from selfflow_robotics.training.fitted_critic import critic_sizes
from selfflow_robotics.world_model.probe import StateProbe

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "selfflow_robotics" / "weights" / "tabletop-small"
PLANNING = (
    *("CEM", "ICEM", "Progress", "GoalImage", "WeightedSum", "Constraint", "StateOf"),
    *("Readout", "ActionMagnitude", "BlockCEM"),
)
SHAPED = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    """Their names."""
    found = []
    for folder in ("selfflow_robotics", "envs", "policies"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if ">>> " in path.read_text(encoding="utf-8"):
                name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.append(name if folder == "selfflow_robotics" else f"selfflow_robotics.{name}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the data sets that examples read."""
    found = tmp_path_factory.mktemp("examples")
    source = open_dataset(write_dataset(found / "data" / "train", 4))
    export_lerobot(source, found / "data" / "lerobot")
    return found


@pytest.fixture(scope="module")
def at_hand(folder: Path) -> dict[str, Any]:
    """What examples name without making it: of futures, four candidates of three steps."""
    model = world_model()
    sizes = critic_sizes(model)
    model.critic, model.config = Critic(sizes), replace(model.config, critic=sizes)
    frames, past_actions, states = history(1, 2)
    actions_BKHA = candidate_actions(1, 4, 3)
    context = model.observe(frames, past_actions, "pick can", states)
    return {
        **{name: getattr(planning, name) for name in PLANNING},
        **vars(policies),
        **vars(tokenizers),
        **{"np": np, "torch": torch, "gymnasium": gymnasium, "Path": Path},
        **{"RT1_ACTIONS": RT1_ACTIONS, "RT1_STATE": RT1_STATE, "encode_episodes": encode_episodes},
        **{"Noising": Noising, "TimestepDistribution": TimestepDistribution, "SelfFlow": SelfFlow},
        "TrainerConfig": TrainerConfig,
        **{"world_model": model, "context": context, "frames": frames},
        **{"past_actions": past_actions, "actions_BKHA": actions_BKHA},
        "future": model.rollout(context, actions_BKHA),
        "image": np.zeros((*IMAGE, 3), np.uint8),
        "probe": StateProbe(("x", "z"), N, torch.ones(96, 2), torch.zeros(2), "", (None, None)),
        "source": open_dataset(folder / "data" / "train"),
        **{"rt1_episodes": [rt1_episode(0), rt1_episode(1)], "tfds": tfds},
        **{"episodes": [episode(6)], "latents": latent_episodes()},
    }


def test_examples_are_found() -> None:
    assert len(modules_with_examples()) > 30


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(
    name: str, at_hand: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith("world_model.world_model") and not SHIPPED.is_dir():
        pytest.skip(f"the example loads {SHIPPED.name}, which this checkout lacks")
    monkeypatch.chdir(folder)
    module = importlib.import_module(name)
    failed, tried = doctest.testmod(module, globs={**at_hand, **vars(module)}, optionflags=SHAPED)
    assert not failed
    assert tried
