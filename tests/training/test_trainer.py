from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_world import PATCH, latent_episodes, world_model

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.objectives import Losses, SelfFlow
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.machine.precision import Precision
from selfflow_robotics.training.config import TrainerConfig
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel

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


def assert_same(one: Trainer, other: Trainer) -> None:
    """Everything that a checkpoint would hold is equal, bit for bit."""
    a, b = one.state.tensors(), other.state.tensors()
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.equal(value, b[key]), key


def finished(made: Trainer) -> WorldModel:
    model = made.fit()
    assert model is not None
    return model


class PowerFailureError(Exception):
    """Ends training as if it were killed."""


def kill(model: WorldModel, step: int) -> dict[str, float]:
    raise PowerFailureError


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_resumes_bit_for_bit(
    episodes: LatentEpisodes, tmp_path: Path, precision: Precision
) -> None:
    config = replace(CONFIG, precision=precision)
    unbroken = trainer(episodes, tmp_path / "whole", config)
    whole = finished(unbroken)
    with pytest.raises(PowerFailureError):
        (killed := trainer(episodes, tmp_path / "killed", config, kill)).fit()
    killed.checkpoints.wait()
    # Whatever the weights of the new process begin with, the checkpoint's count.
    resumed = trainer(episodes, tmp_path / "killed", config, seed=7)
    resumed.resume()
    assert resumed.state.step == 3
    again = finished(resumed)
    assert_same(unbroken, resumed)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    untrained = world_model().state_dict()
    moved = [k for k, v in whole.state_dict().items() if not torch.equal(v, untrained[k])]
    assert {name.split(".")[0] for name in moved} == {"network", "progress_head", "steps_head"}


def test_training_that_is_done_is_not_done_again(episodes: LatentEpisodes, tmp_path: Path) -> None:
    first = finished(trainer(episodes, tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    second = finished(trainer(episodes, tmp_path, seed=7))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_micro_batches_change_nothing_but_rounding(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    config = replace(CONFIG, batch_size=6, steps=3)
    whole = finished(trainer(episodes, tmp_path / "1", config)).state_dict()
    parts = finished(trainer(episodes, tmp_path / "3", replace(config, accumulate=3))).state_dict()
    for name, value in whole.items():
        torch.testing.assert_close(value, parts[name], atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match=r"a batch of 6 clips does not divide over 1 ranks in 4"):
        trainer(episodes, tmp_path / "4", replace(config, accumulate=4))


@pytest.mark.parametrize("every", [1, 2])
def test_recomputing_activations_changes_nothing(
    episodes: LatentEpisodes, tmp_path: Path, every: int
) -> None:
    plain = trainer(episodes, tmp_path / "plain", replace(CONFIG, steps=2))
    saving = trainer(episodes, tmp_path / "saving", replace(CONFIG, steps=2, recompute_every=every))
    finished(plain)
    finished(saving)
    assert_same(plain, saving)


@pytest.mark.slow
def test_a_compiled_block_changes_nothing_but_rounding(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    config = replace(CONFIG, steps=3)
    plain = finished(trainer(episodes, tmp_path / "plain", config)).state_dict()
    compiled = trainer(
        episodes, tmp_path / "compiled", replace(config, compile=True, recompute_every=1)
    )
    for name, value in finished(compiled).state_dict().items():
        torch.testing.assert_close(value, plain[name], atol=1e-4, rtol=1e-3)


class SometimesNan(SelfFlow):
    """Self-Flow whose loss is not a number at these calls."""

    def __init__(self, *calls: int) -> None:
        super().__init__(Noising(TimestepDistribution()), PATCH)
        self.calls, self.call = calls, 0

    def __call__(self, *given: Any) -> Losses:
        found = super().__call__(*given)
        self.call += 1
        broken = float("nan") if self.call - 1 in self.calls else 0.0
        return replace(found, total=found.total + broken)


def test_a_step_that_is_not_finite_is_skipped_and_counted(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    made = Trainer(
        world_model().train(), SometimesNan(0, 1), episodes, replace(CONFIG, steps=2), tmp_path
    )
    before = {k: v.clone() for k, v in made.state.tensors().items()}
    made.fit()
    after = made.state.tensors()
    assert int(after["skipped"]) == int(after["step"]) == 2
    assert after.keys() == before.keys()  # the optimizer has done nothing yet
    for name in before.keys() - {"step", "skipped"}:
        assert torch.equal(before[name], after[name]), name
    assert scalars(tmp_path, "train/skipped") == [1.0, 2.0]


def test_too_many_skipped_steps_stop_with_the_episodes_named(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    config = replace(CONFIG, max_skipped=1)
    broken = trainer(episodes, tmp_path, config)
    with torch.no_grad():
        broken.state.student.network.tokens_out.video.bias.fill_(float("nan"))
    named = ", ".join(sorted(set(broken.loader.batch(1).episodes)))
    sentence = rf"not finite at step 1, the 2\. step .*max_skipped=1; .* its clips: {named};"
    with pytest.raises(RuntimeError, match=sentence):
        broken.fit()
    assert broken.checkpoints.latest() is None


def test_learning_rate_warms_up_and_falls(episodes: LatentEpisodes, tmp_path: Path) -> None:
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=6, warmup=3, learning_rate=1e-3))
    rates = []

    def watch(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        rates.append(1000 * optimizer.param_groups[0]["lr"])

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
    returned = finished(made)
    assert [step for step, _ in seen] == [3, 6]
    for name, value in returned.state_dict().items():
        assert torch.equal(value, seen[-1][1].state_dict()[name])
    assert scalars(tmp_path, "held-out/figure") == [3.0, 6.0]
    for name in ("loss", "video", "action", "progress", "steps", "cosine", "gradient", "data_wait"):
        assert len(scalars(tmp_path, f"train/{name}")) == 6


def scalars(folder: Path, tag: str) -> list[float]:
    """A curve as TensorBoard shows it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return [point.value for point in EventAccumulator(str(folder)).Reload().Scalars(tag)]


def test_curves_after_a_resume_do_not_show_the_lost_steps(
    episodes: LatentEpisodes, tmp_path: Path
) -> None:
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=5, save_every=3))
    step_of = made._train_step

    def fail(*given: Any) -> dict[str, float]:
        if made.state.step == 4:
            made.checkpoints.wait()
            raise PowerFailureError
        return step_of(*given)

    made._train_step = fail  # type: ignore[method-assign]
    with pytest.raises(PowerFailureError):
        made.fit()
    trainer(episodes, tmp_path, replace(CONFIG, steps=5, save_every=3)).fit()
    assert len(scalars(tmp_path, "train/loss")) == 5


def test_training_on_video_leaves_heads_as_they_are(tmp_path: Path) -> None:
    episodes = replace(latent_episodes(), actions=None, states=None, words=None)
    made = trainer(episodes, tmp_path, replace(CONFIG, steps=2))
    before = {k: v.clone() for k, v in made.state.student.state_dict().items()}
    made.fit()
    after = made.state.student.state_dict()
    moved = {k.split(".")[0] for k, v in after.items() if not torch.equal(v, before[k])}
    assert moved == {"network"}


def test_two_trainers_do_not_share_a_folder(episodes: LatentEpisodes, tmp_path: Path) -> None:
    def begin_another(model: WorldModel, step: int) -> dict[str, float]:
        with pytest.raises(BlockingIOError, match=r"another process writes to .*name another"):
            trainer(episodes, tmp_path, replace(CONFIG, steps=9)).fit()
        if step == 6:  # the checkpoint of step 3 is complete: its model can be had meanwhile
            assert trainer(episodes, tmp_path, replace(CONFIG, steps=3)).fit() is not None
        return {}

    assert trainer(episodes, tmp_path, evaluate=begin_another).fit() is not None
    assert trainer(episodes, tmp_path, replace(CONFIG, steps=9)).fit() is not None  # free again
