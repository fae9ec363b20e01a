"""Candidates from several sources."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import Mixture

from .point_mass import start


def source(value: float, asked: list[int]) -> Any:
    def draw(context: Any, candidates: int, horizon: int, /, *, generator: Any) -> Tensor:
        asked.append(candidates)
        return torch.full((context.batch, candidates, horizon, 2), value)

    return draw


@pytest.mark.parametrize(
    ("candidates", "shares"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (4, (1, 2, 1)), (9, (1, 4, 4))]
)
def test_the_first_gives_one_and_the_others_share_the_rest(
    candidates: int, shares: tuple[int, ...]
) -> None:
    asked: list[int] = []
    guess, joint, chunks = (source(value, asked) for value in (0.0, 1.0, 2.0))
    drawn = Mixture(guess, (joint, chunks))(start(2), candidates, 3, generator=None)
    assert drawn.shape == (2, candidates, 3, 2)
    assert asked == [share for share in shares if share]
    for value, share in enumerate(shares):
        assert (drawn[0, :, 0, 0] == value).sum() == share


def test_alone_the_first_gives_all() -> None:
    asked: list[int] = []
    assert Mixture(source(0.5, asked))(start(1), 5, 3, generator=None).shape == (1, 5, 3, 2)
    assert asked == [5]
