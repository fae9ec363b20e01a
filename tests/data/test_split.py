from __future__ import annotations

from selfflow_robotics.data.split import split_of


def test_five_percent_are_held_out() -> None:
    held_out = sum(split_of(i) == "held-out" for i in range(20_000))
    assert 0.045 < held_out / 20_000 < 0.055


def test_a_number_stands_for_its_id() -> None:
    assert all(split_of(i) == split_of(f"train/{i}") for i in range(100))


def test_the_split_never_changes() -> None:
    assert [i for i in range(100) if split_of(i) == "held-out"] == [12, 24, 49, 62, 65, 83, 84, 99]
