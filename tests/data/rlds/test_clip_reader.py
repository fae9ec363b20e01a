"""The reader of clips that loading is measured with: every epoch holds every clip once."""

from __future__ import annotations

import runpy
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from rlds_material import rt1_tfrecords
from rt1_material import SIZE, altered, rt1_episode, sound_record, write_records
from tensorflow_datasets.proto import tf_example_pb2

from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.rlds.source import RldsSource
from selfflow_robotics.data.rt1.features import serialize

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
ClipReader = runpy.run_path(str(BENCHMARKS / "clip_reader.py"))["ClipReader"]


@pytest.fixture
def source(tmp_path: Path) -> RldsSource:
    """Episodes of 3, 4, 5, 6, 3, 4, 5, 6, 3, 4 steps."""
    return open_dataset(rt1_tfrecords(tmp_path / "rt1", shards=5))


def test_every_epoch_holds_every_clip_once(source: RldsSource) -> None:
    sizes = [len(source[i]) for i in range(10)]
    wanted = Counter({f"train/{i}": size - 2 for i, size in enumerate(sizes) if size > 2})
    total = sum(wanted.values())
    batches = list(islice(ClipReader(source, frames=3, batch_size=1, pool=5), 2 * total))
    epochs = [Counter(b.episodes[0] for b in batches[i * total : (i + 1) * total]) for i in (0, 1)]
    assert epochs == [wanted, wanted]
    firsts = {batch.images_BTHWC.tobytes() for batch in batches[:total]}
    assert len(firsts) == total


def test_batches_hold_pixels_and_actions_of_one_place(source: RldsSource) -> None:
    batch = next(iter(ClipReader(source, frames=3, batch_size=4)))
    assert batch.images_BTHWC.shape == (4, 3, *SIZE, 3) and batch.actions_BTA is not None
    for row, name in enumerate(batch.episodes):
        episode = source[int(name.partition("/")[2])]
        assert episode.actions is not None
        starts = [
            start
            for start in range(len(episode) - 2)
            if np.array_equal(episode.images[start : start + 3], batch.images_BTHWC[row])
        ]
        actions = [episode.actions[start : start + 3] for start in starts]
        assert any(np.array_equal(found, batch.actions_BTA[row]) for found in actions)


def test_the_seed_decides_the_order_whatever_the_threads(source: RldsSource) -> None:
    def order(seed: int, threads: int) -> list[tuple[str, ...]]:
        reader = ClipReader(source, 3, 4, seed, pool=4, threads=threads)
        return [batch.episodes for batch in islice(reader, 12)]

    assert order(0, 1) == order(0, 3) != order(1, 1)


def test_episodes_that_are_all_too_short(source: RldsSource) -> None:
    with pytest.raises(ValueError, match=r"no episode of .*rt1:train has 7 frames; use shorter"):
        next(iter(ClipReader(source, 7, 1, pool=3)))


def test_a_faulty_episode_is_named(tmp_path: Path) -> None:
    def nan(feature: tf_example_pb2.Feature) -> None:
        feature.float_list.value[4] = float("nan")

    record = altered(sound_record(), "steps/action/world_vector", nan)
    records = [serialize(rt1_episode(5), SIZE), record]
    reader = ClipReader(open_dataset(write_records(tmp_path / "set", records)), 3, 1)
    with pytest.raises(ValueError, match="episode train/1 of"):
        next(iter(reader))
