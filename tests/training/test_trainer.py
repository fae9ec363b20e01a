from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import PATCH, latent_episodes, world_model
from torch import Tensor

from selfflow_robotics.computing import Precision
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.objectives import SelfFlow
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.training.config import TrainerConfig
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model import WorldModel

CONFIG = TrainerConfig(
    steps=6, batch_size=2, frames=4, warmup=2, save_every=3, log_every=1, precision="fp32"
)


@pytest.fixture(scope="module")
def episodes() -> LatentEpisodes:
    return latent_episodes()


def trainer(
    episodes: LatentEpisodes,
    folder: Path,
    config: TrainerConfig = CONFIG,
    evaluate: Callable[[WorldModel, int], dict[str, float]] | None = None,
    seed: int = 0,
) -> Trainer:
    objective = SelfFlow(Noising(TimestepDistribution()), PATCH)
    return Trainer(world_model(seed).train(), objective, episodes, config, folder, evaluate)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Everything in a checkpoint, by where it is."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from leaves(part, f"{path}.{i}")
    else:
        yield path, value


def assert_same(one: Path, other: Path) -> None:
    a, b = (dict(leaves(torch.load(path, weights_only=True))) for path in (one, other))
    assert a.keys() == b.keys()
    for key, value in a.items():
        same = torch.equal(value, b[key]) if isinstance(value, Tensor) else value == b[key]
        assert same, key


class PowerFailureError(Exception):
    """Ends training as if it were killed."""


def kill(model: WorldModel, step: int) -> dict[str, float]:
    raise PowerFailureError


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_resumes_bit_for_bit(
    episodes: LatentEpisodes, tmp_path: Path, precision: Precision
) -> None:
    config = replace(CONFIG, precision=precision)
    whole = trainer(episodes, tmp_path / "whole", config).fit()
    with pytest.raises(PowerFailureError):
        trainer(episodes, tmp_path / "killed", config, kill).fit()
    # Whatever the weights of the new process begin with, the checkpoint's count.
    resumed = trainer(episodes, tmp_path / "killed", config, seed=7)
    resumed.resume()
    assert resumed.step == 3
    again = resumed.fit()
    assert_same(tmp_path / "whole" / "checkpoint.pt", tmp_path / "killed" / "checkpoint.pt")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    untrained = world_model().state_dict()
    moved = [k for k, v in whole.state_dict().items() if not torch.equal(v, untrained[k])]
    assert {name.split(".")[0] for name in moved} == {"network", "progress_head", "steps_head"}


def test_training_that_is_done_is_not_done_again(episodes: LatentEpisodes, tmp_path: Path) -> None:
    first = trainer(episodes, tmp_path).fit()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    second = trainer(episodes, tmp_path, seed=7).fit()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_loss_that_is_not_finite_stops_with_a_sentence(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    broken = trainer(episodes, tmp_path)
    with torch.no_grad():
        broken.state.student.network.tokens_out.video.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match=r"the loss is nan at step 0; lower trainer\.learning"):
        broken.fit()
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another model", "half"])
def test_damaged_checkpoint_is_a_sentence(
    episodes: LatentEpisodes, tmp_path: Path, damage: str
) -> None:
    trainer(episodes, tmp_path, replace(CONFIG, steps=1)).fit()
    checkpoint = tmp_path / "checkpoint.pt"
    if damage == "another model":
        torch.save({"step": 1, "student": {"weight": torch.zeros(2)}}, checkpoint)
    elif damage == "half":
        saved = torch.load(checkpoint, weights_only=True)
        del saved["optimizer"]
        torch.save(saved, checkpoint)
    else:
        whole = checkpoint.read_bytes()
        new = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"hello"}[damage]
        checkpoint.write_bytes(new)
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"checkpoint\.pt cannot be resumed .*remove it to begin"):
        trainer(episodes, tmp_path).fit()
    assert checkpoint.read_bytes() == before


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_a_checkpoint_that_would_run_code_is_refused(
    episodes: LatentEpisodes, tmp_path: Path, writer: str
) -> None:
    target, folder = tmp_path / "owned", tmp_path / "run"
    folder.mkdir()
    payload = {"step": 0, "student": Malicious(target)}
    if writer == "pickle":
        (folder / "checkpoint.pt").write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, folder / "checkpoint.pt")
    with pytest.raises(ValueError, match="cannot be resumed"):
        trainer(episodes, folder).fit()
    assert not target.exists()


def test_a_save_that_fails_leaves_the_last_checkpoint(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=1))
    made.fit()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "checkpoint.partial").mkdir()  # writing there fails
    with pytest.raises((OSError, RuntimeError)):
        made.save()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_learning_rate_warms_up_and_falls(episodes: LatentEpisodes, tmp_path: Path) -> None:
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=6, warmup=3, learning_rate=1.0))
    rates = []

    def watch(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    made.state.optimizer.register_step_pre_hook(watch)
    made.fit()
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[3:] == pytest.approx([1.0, 0.7625, 0.2875], abs=1e-4)


def test_held_out_figures_are_of_the_average_and_reach_the_curves(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    seen: list[tuple[int, WorldModel]] = []

    def evaluate(model: WorldModel, step: int) -> dict[str, float]:
        seen.append((step, copy.deepcopy(model)))
        return {"figure": float(step)}

    made = trainer(episodes, tmp_path, evaluate=evaluate)
    returned = made.fit()
    assert [step for step, _ in seen] == [3, 6]
    for name, value in returned.state_dict().items():
        assert torch.equal(value, seen[-1][1].state_dict()[name])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(tmp_path)).Reload()
    assert [e.value for e in curves.Scalars("held-out/figure")] == [3.0, 6.0]
    tags = set(curves.Tags()["scalars"])
    for name in ("loss", "video", "action", "progress", "steps", "cosine", "gradient", "data_wait"):
        assert f"train/{name}" in tags


def test_training_on_video_leaves_heads_as_they_are(tmp_path: Path) -> None:
    episodes = replace(latent_episodes(), actions=None, states=None, words=None)
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=2))
    before = {k: v.clone() for k, v in made.state.student.state_dict().items()}
    made.fit()
    after = made.state.student.state_dict()
    moved = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}
    assert moved == {"network"}
