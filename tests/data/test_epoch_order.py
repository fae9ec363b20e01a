from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from selfflow_robotics.data.epoch_order import EpochOrder


@pytest.mark.parametrize("count", [1, 7, 300, 70_000])
def test_each_epoch_holds_every_item_once(count: int) -> None:
    order = EpochOrder(count, seed=3)
    epochs = [order.places(epoch * count, count) for epoch in range(3)]
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(count))
    assert count == 1 or not np.array_equal(epochs[0], epochs[1])
    other = EpochOrder(count, seed=4).places(0, count)
    assert count == 1 or not np.array_equal(epochs[0], other)


@pytest.mark.parametrize("length", [1, 3, 10, 24])
def test_places_go_on_across_the_end_of_an_epoch(length: int) -> None:
    whole = EpochOrder(10, seed=0).places(0, 10 * length)
    order = EpochOrder(10, seed=0)
    parts = [order.places(first, length) for first in range(0, 10 * length, length)]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_a_place_does_not_depend_on_what_was_asked_before() -> None:
    order = EpochOrder(100, seed=1)
    asked = np.random.default_rng(0).integers(0, 1000, 300).tolist()
    expected = EpochOrder(100, seed=1).places(0, 1000)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda place: int(order.places(place, 1)[0]), asked))
    assert found == expected[asked].tolist()


def test_an_item_takes_no_more_bytes_than_its_number_needs() -> None:
    assert EpochOrder(200, seed=0).places(0, 5).dtype == np.uint8
    assert EpochOrder(70_000, seed=0).places(0, 5).dtype == np.uint32


def test_the_first_items_are_spread_evenly() -> None:
    """Of 2000 seeds each of 8 items comes first about 250 times: within five deviations."""
    firsts = [int(EpochOrder(8, seed).places(0, 1)[0]) for seed in range(2000)]
    assert np.all(np.abs(np.bincount(firsts, minlength=8) - 250) < 5 * np.sqrt(250 * 7 / 8))
