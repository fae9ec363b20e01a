"""The real Bridge data set reads as TFDS itself returns it."""

from __future__ import annotations

import json
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from selfflow_robotics.data.rlds.source import RldsSource, open_rlds

HERE = Path(__file__).parent
FIXTURE = HERE.parents[3] / "shared" / "fixtures" / "octo_bridge_debug"
EXPECTED: dict[str, list[dict[str, Any]]] = json.loads((HERE / "bridge_expected.json").read_text())

pytestmark = pytest.mark.skipif(not FIXTURE.is_dir(), reason=f"no Bridge fixture at {FIXTURE}")


@pytest.fixture(params=["train", "val"])
def source(request: pytest.FixtureRequest) -> RldsSource:
    return open_rlds(FIXTURE, mapping="bridge", split=request.param)


def test_counts_equal_those_of_tfds(source: RldsSource) -> None:
    expected = EXPECTED[source.split]
    assert len(source) == len(expected) == 25
    assert [len(source[i]) for i in range(25)] == [e["steps"] for e in expected] == [10] * 25


def test_values_equal_those_of_tfds_with_tensorflow(source: RldsSource) -> None:
    require_equal(source, EXPECTED[source.split])


def require_equal(source: RldsSource, episodes: list[dict[str, Any]]) -> None:
    for episode, expected in zip((source[i] for i in range(len(source))), episodes, strict=True):
        assert episode.actions is not None and episode.states is not None
        assert sha256(episode.actions.tobytes()).hexdigest() == expected["actions_sha256"]
        assert sha256(episode.states.tobytes()).hexdigest() == expected["states_sha256"]
        assert list(episode.instructions) == expected["instructions"]
        assert sha256(episode.images.tobytes()).hexdigest() == expected["accurate_images_sha256"]
        means = episode.images.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(means, expected["image_means"], atol=1.0)


def test_values_equal_those_of_tfds_without_tensorflow(source: RldsSource) -> None:
    builder = tfds.builder_from_directory(FIXTURE)
    records = source._records
    for i in range(0, len(source), 6):
        steps = list(builder.info.features.deserialize_example_np(records[i])["steps"])
        episode = source[i]
        assert episode.actions is not None and episode.states is not None
        for step, image, action, state, instruction in zip(
            steps,
            episode.images,
            episode.actions,
            episode.states,
            episode.instructions,
            strict=True,
        ):
            np.testing.assert_array_equal(image, step["observation"]["image_0"])
            np.testing.assert_array_equal(action, step["action"])
            np.testing.assert_array_equal(state, step["observation"]["state"])
            assert instruction == step["language_instruction"].decode()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What TensorFlow reads, in a process of its own: beside other native libraries it crashed."""
    if find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed; the stored values serve")
    target = tmp_path_factory.mktemp("theirs") / "found.json"
    maker = HERE / "make_bridge_expected.py"
    subprocess.run([sys.executable, str(maker), str(FIXTURE), str(target)], check=True)
    found: dict[str, list[dict[str, Any]]] = json.loads(target.read_text())
    return found


def test_values_equal_those_of_tensorflow_installed_here(
    source: RldsSource, theirs: dict[str, list[dict[str, Any]]]
) -> None:
    require_equal(source, theirs[source.split])
