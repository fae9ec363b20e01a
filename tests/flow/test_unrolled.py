from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_world import PATCH, cells_model, clips, latent_episodes, streams, world_model

from selfflow_robotics.flow.noising import Noising
from selfflow_robotics.flow.timesteps import TimestepDistribution
from selfflow_robotics.flow.unrolled import Unrolled
from selfflow_robotics.model.dit import DiT
from selfflow_robotics.training.config import TrainerConfig
from selfflow_robotics.training.trainer import Trainer


def objective(ahead: int = 3) -> Unrolled:
    return Unrolled(Noising(TimestepDistribution(), ahead=ahead), PATCH)


def loss(network: DiT, ahead: int = 3, frames: int = 4) -> torch.Tensor:
    learns = objective(ahead)
    noised = learns.noise(clips(frames=frames), streams(6))
    return learns(network, network, torch.nn.Identity(), noised).total


@pytest.mark.parametrize(("depth", "markov"), [(0, True), (2, True), (2, False)])
def test_errors_reach_every_weight_through_the_frames_imagined_before(
    depth: int, markov: bool
) -> None:
    network = cells_model(depth=depth, markov=markov).network.train()
    assert network.kinematics is not None
    network.kinematics.requires_grad_(False)
    loss(network).backward()  # type: ignore[no-untyped-call]
    elsewhere = ("instruction.", "conditioning.instruction.", "tokens_out.state", "kinematics.")
    elsewhere += ("tokens_out.action", *(() if depth else ("tokens_in.action", "tokens_in.state")))
    idle = {
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.any()
    }
    assert not {name for name in idle if not name.startswith(elsewhere)}


def test_an_error_of_the_first_frame_is_felt_in_the_later_ones() -> None:
    """What rests in the first frame and is imagined wrongly there is wrong afterwards as well."""
    network = DiT(cells_model().config.network)  # keeps its anchor
    given = clips(frames=4)
    still = replace(given, latents_BTCHW=given.latents_BTCHW[:, :1].expand(-1, 4, -1, -1, -1))
    learns = objective()

    def error(moves_to: float) -> float:
        moved = still.latents_BTCHW.clone()
        moved[:, 1:] += moves_to
        noised = learns.noise(replace(still, latents_BTCHW=moved), streams(6))
        return float(learns(network, network, torch.nn.Identity(), noised).total)

    assert error(0.0) < 1e-6
    # The change comes in the first frame (weight 0.2 + 1), its error stays in all three.
    assert error(1.0) == pytest.approx((1.2 + 0.2 + 0.2) / 3, rel=1e-4)


def test_history_is_what_is_left_of_a_clip() -> None:
    noised = objective(ahead=2).noise(clips(frames=5), streams(6))
    assert (noised.clean_BT.sum(dim=1) == 3).all()
    state = noised.student.frames.state_BTP
    assert state is not None
    torch.testing.assert_close(state, clips(frames=5).state_BTP)  # proprioception is given


def test_what_cannot_be_unrolled_is_said() -> None:
    with pytest.raises(ValueError, match=r"clips of 3 frames have no 3 frames after a first"):
        loss(cells_model().network, frames=3)
    with pytest.raises(ValueError, match=r"model\.kinematics=true"):
        loss(world_model().network)


@pytest.mark.parametrize(("depth", "markov"), [(0, True), (2, False)])
def test_training_gets_better_at_imagining(depth: int, markov: bool, tmp_path: Path) -> None:
    model = cells_model(depth=depth, markov=markov)
    model.network = DiT(model.config.network)
    seen: list[float] = []
    config = TrainerConfig(
        steps=40, batch_size=8, frames=4, warmup=2, log_every=1, save_every=20, learning_rate=5e-3
    )

    def watch(model: object, step: int) -> dict[str, float]:
        assert isinstance(model, type(trainer.state.student))
        seen.append(float(loss_on(model.network)))
        return {}

    episodes = latent_episodes((20, 20, 20))
    held_out = latent_episodes((20,), seed=9)

    @torch.no_grad()
    def loss_on(network: DiT) -> torch.Tensor:
        given = held_out.clips(held_out.starts(4), 4)
        learns = objective()
        noised = learns.noise(given, streams(len(given.latents_BTCHW)))
        return learns(network, network, torch.nn.Identity(), noised).total

    before = float(loss_on(model.network))
    trainer = Trainer(model.train(), objective(), episodes, config, tmp_path, watch)
    trainer.fit()
    assert seen[-1] < 0.8 * before
