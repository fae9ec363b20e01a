"""A teacher learns how many steps are left and which states are lost; one seed, one teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from selfflow_robotics.collecting.assignments import Assignment
from selfflow_robotics.collecting.labels import Labels
from selfflow_robotics.collecting.teacher import BINS, fit_teacher, taught


def lesson(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps to walk a way of up to 9 m, 0.5 m each; lost where the second number is above 1.5."""
    rng = np.random.default_rng(seed)
    states = np.column_stack([rng.uniform(0, 9, count), rng.normal(size=count)]).astype(np.float32)
    left = np.ceil(states[:, 0] / 0.5).clip(min=1).astype(np.float32)
    left[states[:, 1] > 1.5] = np.inf
    return states, left


def test_it_says_what_it_was_taught_and_what_is_lost() -> None:
    teacher = fit_teacher(*lesson(2000, 0), seed=0)
    states, left = lesson(500, 1)
    said = teacher(torch.from_numpy(states)).numpy()
    assert np.mean(np.isinf(said) == np.isinf(left)) > 0.97
    both = np.isfinite(said) & np.isfinite(left)
    assert np.median(np.abs(said[both] - left[both])) < 0.4
    assert said.min() >= 1.0


def test_longer_tasks_have_wider_bins() -> None:
    states, left = lesson(300, 0)
    teacher = fit_teacher(states, left * 5, seed=0)
    assert teacher.bin_steps == 3 and teacher.logits(torch.from_numpy(states)).shape[-1] == BINS
    said = teacher(torch.from_numpy(states)).numpy()
    both = np.isfinite(said) & np.isfinite(left)
    assert np.median(np.abs(said[both] - 5 * left[both])) < 4


def test_same_seed_same_teacher_whatever_the_threads() -> None:
    given = lesson(300, 0)
    first, second = fit_teacher(*given, seed=1), None
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        second = fit_teacher(*given, seed=1)
    finally:
        torch.set_num_threads(before)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_known_stays_and_the_error_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    episodes = []
    for number in range(40):
        states, left = lesson(20, number)
        asked = np.random.default_rng(number).random(20) < 0.5
        known = np.where(asked, left, np.nan).astype(np.float32)
        branches, branches_left = lesson(20, 100 + number)
        labels = Labels(known, asked, states, branches, branches_left)
        episodes.append((Assignment(number, "walk", "random"), labels))
    done = taught(episodes, seed=0)
    for (before, given), (after, found) in zip(episodes, done, strict=True):
        assert before == after and not np.isnan(found.left).any()
        np.testing.assert_array_equal(found.left[given.asked], given.left[given.asked])
    words = capsys.readouterr().out.splitlines()[1].split()
    assert words[:2] == ["walk", "random"]
    assert int(words[2]) == sum(labels.asked.sum() for _, labels in episodes[::10])
    assert float(words[3]) < 1.0 and float(words[4]) > 0.9
