"""Other people's environments, read and written through a mapping."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from selfflow_robotics.policies import EnvMapping, observe_env

CAMERA = Box(0, 255, (6, 5, 3), np.uint8)
WORDS = Text(20, charset="abcdefghijklmnopqrstuvwxyz 0123456789")
SPACE = Dict({"image": CAMERA, "instruction": WORDS, "proprioception": Box(-1, 1, (4,))})


def box(*bounds: tuple[float, float]) -> Box:
    low, high = (np.array(side, np.float32) for side in zip(*bounds, strict=True))
    return Box(low, high)


def test_reads_this_projects_observations() -> None:
    single = SPACE.sample()
    seen = observe_env(single, EnvMapping(), vectorized=False)
    assert seen.image.shape == (1, 6, 5, 3)
    assert seen.instruction == (single["instruction"],)
    assert seen.proprioception is not None and seen.proprioception.shape == (1, 4)


class Camera(gymnasium.Env[Any, Any]):
    observation_space, action_space = SPACE, box((-1, 1))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._seen(seed), {}

    def step(self, action: Any) -> Any:
        return self._seen(0), 0.0, False, False, {}

    def _seen(self, seed: int | None) -> dict[str, Any]:
        image = np.full((6, 5, 3), seed, np.uint8)
        return {"image": image, "instruction": f"task {seed}", "proprioception": np.ones(4, "f4")}


@pytest.mark.parametrize("processes", [False, True])
def test_reads_vector_environments(processes: bool) -> None:
    envs = AsyncVectorEnv([Camera] * 3, False) if processes else SyncVectorEnv([Camera] * 3)
    observation, _ = envs.reset(seed=[5, 6, 7])
    seen = observe_env(observation, EnvMapping())
    envs.close()
    assert seen.instruction == ("task 5", "task 6", "task 7")
    assert seen.image[:, 0, 0, 0].tolist() == [5, 6, 7]
    assert seen.proprioception is not None and seen.proprioception.dtype == np.float32


def test_the_observation_itself_may_be_the_image() -> None:
    mapping = EnvMapping(image=None, instruction=None, text="go", proprioception=None)
    mapping.check(CAMERA, box((-1, 1)), action_size=1)
    seen = observe_env(np.zeros((2, 6, 5, 3), np.uint8), mapping)
    assert seen.image.shape == (2, 6, 5, 3)
    assert seen.instruction == ("go", "go")
    assert seen.proprioception is None


def test_images_of_other_layouts_are_read_or_are_errors() -> None:
    mapping = EnvMapping(instruction=None, proprioception=None)
    picture = np.random.default_rng(0).integers(0, 256, (1, 6, 5, 3), dtype=np.uint8)
    for image in (picture.transpose(0, 3, 1, 2), picture / 255, picture[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(observe_env({"image": image}, mapping).image, picture)
    for image in (picture[0], picture / 127.5 - 1, picture.astype(np.uint16)):
        with pytest.raises(ValueError, match=r"the image 'image' has .* key in mapping\.image"):
            observe_env({"image": image}, mapping)


def test_a_missing_key_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"lacks the image 'image'; it has \['pixels'\]"):
        observe_env({"pixels": 0}, EnvMapping())
    with pytest.raises(ValueError, match=r"'camera', which observations lack; they have \['image'"):
        EnvMapping(image="camera").check(SPACE, box((-1, 1)), 1)
    with pytest.raises(ValueError, match="observations are no dictionary"):
        EnvMapping().check(CAMERA, box((-1, 1)), 1)


def test_actions_are_taken_scaled_shifted_and_clipped() -> None:
    mapping = EnvMapping(take=(2, None, 0), scale=(10.0, 1.0, -1.0), offset=(0.0, 0.5, 0.1))
    space = box((-5, 5), (0, 1), (-1, 1))
    actions = np.array([[0.2, 9.0, 0.3], [0.2, 9.0, 0.8]], np.float32)
    mapped = mapping.to_environment(actions, space)
    np.testing.assert_allclose(mapped, [[3.0, 0.5, -0.1], [5.0, 0.5, -0.1]], rtol=1e-6)
    assert mapped.dtype == np.float32


@given(
    bounds=st.lists(st.tuples(st.floats(-9, 9, width=32), st.floats(-9, 9, width=32)), min_size=1),
    numbers=st.randoms(use_true_random=False),
)
def test_mapped_actions_lie_in_the_box(bounds: list[tuple[float, float]], numbers: Any) -> None:
    space = box(*((min(pair), max(pair)) for pair in bounds))
    size = len(bounds)
    mapping = EnvMapping(
        take=tuple(numbers.choice([None, 0, 1, 2]) for _ in range(size)),
        scale=tuple(numbers.uniform(-3, 3) for _ in range(size)),
        offset=tuple(numbers.uniform(-3, 3) for _ in range(size)),
    )
    actions = np.array([[numbers.uniform(-9, 9) for _ in range(3)] for _ in range(2)], np.float32)
    for action in mapping.to_environment(actions, space):
        assert space.contains(action)


@pytest.mark.parametrize("space", [Discrete(5), Box(-1, 1, (2, 2)), Dict({"a": Discrete(2)})])
def test_other_action_spaces_are_errors(space: Any) -> None:
    with pytest.raises(ValueError, match="is not supported"):
        EnvMapping().check(SPACE, space, 2)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (EnvMapping(), "take covers 7 action entries, the environment has 2"),
        (EnvMapping(take=(0, 1), scale=(1.0,)), "scale covers 1 action entries"),
        (EnvMapping(take=(0, 7)), "names the action entry 7"),
        (EnvMapping(take=(0, -1)), "names the action entry -1"),
    ],
)
def test_a_mapping_that_does_not_fit_the_box_is_an_error(mapping: EnvMapping, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mapping.check(SPACE, box((-1, 1), (-1, 1)), action_size=7)
