"""Training of the autoencoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selfflow_robotics.tokenizers import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.background import Backgrounds
from selfflow_robotics.tokenizers.tokenizer import to_pixels
from selfflow_robotics.tokenizers.train import Loss, measure, train_autoencoder

SMALL = AutoencoderConfig(channels=8, widths=(16, 16, 32))


def moving_squares(frames: int, seed: int = 0) -> np.ndarray:
    """A red and a blue square of six pixels somewhere over a still ramp of grey."""
    rng = np.random.default_rng(seed)
    ramp = np.broadcast_to(np.linspace(60, 180, 48, dtype=np.uint8)[None, :, None], (32, 48, 3))
    images = np.repeat(ramp[None], frames, 0).copy()
    for image in images:
        for colour in ((220, 30, 30), (30, 40, 230)):
            top, left = rng.integers(0, 26), rng.integers(0, 42)
            image[top : top + 6, left : left + 6] = colour
    return images


@pytest.fixture(scope="module")
def trained() -> Autoencoder:
    return train_autoencoder(moving_squares(500), steps=150, batch_size=16, lr=4e-3, config=SMALL)


def test_it_learns_what_moves(trained: Autoencoder) -> None:
    held_out = moving_squares(64, seed=1)
    before = measure(Autoencoder(SMALL), held_out)
    after = measure(trained, held_out)
    assert after.moving_psnr > before.moving_psnr + 6
    assert after.psnr > 18
    assert 0.03 < after.moving_share < 0.08


def test_latents_are_normalised(trained: Autoencoder) -> None:
    latents = trained.encode(moving_squares(200, seed=2))
    assert latents.mean((0, 2, 3)).abs().max() < 0.2
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 0.2


def test_same_seed_same_weights() -> None:
    frames = moving_squares(50)
    first, second = (
        train_autoencoder(frames, steps=3, batch_size=4, seed=5, config=SMALL) for _ in range(2)
    )
    other = train_autoencoder(frames, steps=3, batch_size=4, seed=6, config=SMALL)
    state, again = first.state_dict(), second.state_dict()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert not torch.equal(first.encode(frames[:1]), other.encode(frames[:1]))


def test_it_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    train_autoencoder(moving_squares(8), steps=1, batch_size=2, config=SMALL)
    assert torch.equal(torch.rand(1), expected)


def test_training_continues_from_weights(trained: Autoencoder) -> None:
    held_out = moving_squares(64, seed=1)
    weights = {key: value.clone() for key, value in trained.state_dict().items()}
    further = train_autoencoder(moving_squares(100), steps=10, batch_size=8, lr=1e-4, start=trained)
    assert measure(further, held_out).psnr > measure(trained, held_out).psnr - 1.5
    assert all(torch.equal(weights[key], value) for key, value in trained.state_dict().items())


@pytest.mark.parametrize(
    ("frames", "values", "message"),
    [
        (np.zeros((4, 32, 48, 3), np.float32), {}, "type uint8"),
        (np.zeros((0, 32, 48, 3), np.uint8), {}, "at least one"),
        (np.zeros((4, 30, 48, 3), np.uint8), {}, "multiples of 8"),
        (np.zeros((4, 32, 48, 3), np.uint8), {"steps": 0}, "steps"),
        (np.zeros((4, 32, 48, 3), np.uint8), {"lr": -1.0}, "lr"),
    ],
)
def test_wrong_arguments(frames: np.ndarray, values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_autoencoder(frames, **values)  # type: ignore[arg-type]


def test_loss_that_explodes_is_an_error() -> None:
    with pytest.raises(ValueError, match="lower lr"):
        train_autoencoder(moving_squares(8), steps=60, batch_size=4, lr=1e30, config=SMALL)


def test_backgrounds_of_two_scenes_are_told_apart() -> None:
    dark, light = moving_squares(60), 255 - moving_squares(60, seed=3)
    pixels = to_pixels(torch.from_numpy(np.concatenate([dark, light])))
    found = Backgrounds.find(pixels, groups=2)
    moves = found.difference(pixels)[:, 0] > 0.15
    assert 0.03 < moves.float().mean() < 0.08
    still = Backgrounds.find(pixels[:60], groups=1).images[0]
    assert (still - to_pixels(torch.from_numpy(moving_squares(0 + 1)))[0]).abs().median() < 0.01


def test_moving_pixels_cost_more() -> None:
    pixels = torch.zeros(1, 3, 8, 8)
    difference = torch.zeros(1, 1, 8, 8)
    difference[..., :4] = 1.0
    wrong_where_it_moves, wrong_where_it_is_still = pixels.clone(), pixels.clone()
    wrong_where_it_moves[..., 1] = 0.3
    wrong_where_it_is_still[..., 6] = 0.3
    loss = Loss(moving=10.0)
    assert loss(wrong_where_it_moves, pixels, difference) > 5 * loss(
        wrong_where_it_is_still, pixels, difference
    )
