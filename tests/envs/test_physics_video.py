"""Generated physics video."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from selfflow_robotics.envs.physics_video import PhysicsVideo


@pytest.fixture(scope="module")
def source() -> PhysicsVideo:
    return PhysicsVideo(episodes=6, frames=8, image_size=(64, 80), seed=3)


def test_episode_has_frames_and_no_actions(source: PhysicsVideo) -> None:
    episode = source[2]
    assert episode.images.shape == (8, 64, 80, 3)
    assert episode.images.dtype == np.uint8
    assert (episode.actions, episode.states, episode.instructions) == (None, None, ())
    assert episode.source == "video"
    assert episode.id == "physics-3/2"


def test_same_seed_same_bytes_in_any_order(source: PhysicsVideo) -> None:
    fresh = PhysicsVideo(episodes=6, frames=8, image_size=(64, 80), seed=3)
    backwards = [fresh[i].images for i in reversed(range(6))][::-1]
    for index, images in enumerate(backwards):
        np.testing.assert_array_equal(images, source[index].images)


def test_seeds_and_episodes_differ(source: PhysicsVideo) -> None:
    assert (source[0].images != source[1].images).any()
    one, other = (PhysicsVideo(episodes=1, frames=2, seed=seed)[0].images for seed in (1, 2))
    assert (one != other).any()


def test_something_is_seen_and_something_moves() -> None:
    source = PhysicsVideo(episodes=12, frames=8, seed=5)
    for index in range(len(source)):
        images = source[index].images.astype(int)
        assert images[0].std() > 3
        assert np.abs(images[-1] - images[0]).max() > 20


def test_survives_pickling_after_drawing(source: PhysicsVideo) -> None:
    before = source[1].images
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[1].images, before)


def test_other_sizes() -> None:
    assert PhysicsVideo(1, frames=1, image_size=(48, 128))[0].images.shape == (1, 48, 128, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"episodes": 0}, "episodes"),
        ({"episodes": 1, "frames": 0}, "frames"),
        ({"episodes": 1, "image_size": (4, 80)}, "image height"),
        ({"episodes": 1, "rate_hz": 1000.0}, "rate_hz"),
        ({"episodes": 1, "seed": -1}, "seed"),
    ],
)
def test_values_out_of_range(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PhysicsVideo(**values)  # type: ignore[arg-type]


def test_index_out_of_range(source: PhysicsVideo) -> None:
    with pytest.raises(IndexError, match="6 episodes"):
        source[6]
