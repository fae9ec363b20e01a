"""What the objectives say of imagined futures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from selfflow_robotics.planning import GoalImage, Progress, WeightedSum

from ..point_mass import start


@dataclass(frozen=True)
class Future:
    """What a network's heads would say of imagined frames, given outright."""

    progress_BKH: Tensor
    steps_BKH: Tensor
    features_BKHMD: Tensor


class Heads:
    """A world model whose rollouts carry their judgement; a goal's feature is its brightness."""

    def progress(self, context: Any, rollout: Future) -> Tensor:
        return rollout.progress_BKH

    def encode_goal(self, images: NDArray[np.uint8], states: Any = None) -> Tensor:
        bright = torch.as_tensor(images).float().mean((1, 2, 3)) / 255
        return torch.stack([bright, 1 - bright], dim=-1)[:, None].expand(-1, 3, -1)

    def steps_to_goal(self, rollout: Future, goal_features: Tensor) -> Tensor:
        assert len(goal_features) == len(rollout.steps_BKH)
        return rollout.steps_BKH


def future(progress: Any = 0.0, steps: Any = 0.0, bright: float = 1.0, batch: int = 1) -> Future:
    shape = torch.broadcast_shapes(torch.as_tensor(progress).shape, torch.as_tensor(steps).shape)
    shape = shape or (batch, 1, 1)
    feature = torch.tensor([bright, 1 - bright])
    return Future(
        torch.as_tensor(progress).expand(shape),
        torch.as_tensor(steps).expand(shape),
        feature.expand(*shape, 3, 2),
    )


def white(*shape: int) -> NDArray[np.uint8]:
    return np.full((*shape, 8, 8, 3), 255, np.uint8)


def test_progress_is_negated_and_averaged_over_frames() -> None:
    seen = future(progress=torch.tensor([[[0.2, 0.4], [0.5, 0.9]]]))
    expected = torch.tensor([[-0.3, -0.7]])
    torch.testing.assert_close(Progress(Heads())(start(1), seen), expected)


def test_discount_weighs_early_or_late_frames() -> None:
    early, late = torch.tensor([0.9, 0.1]), torch.tensor([0.1, 0.9])
    seen = future(progress=torch.stack([early, late])[None])
    for discount, better in ((0.5, 0), (1.5, 1)):
        cost = Progress(Heads(), discount)(start(1), seen)
        assert cost.argmin() == better


def test_far_from_the_goal_image_only_steps_count() -> None:
    objective = GoalImage(Heads(), white(), near=3)
    for bright in (0.0, 1.0):
        cost = objective(start(1), future(steps=torch.tensor([[[5.0], [12.0]]]), bright=bright))
        torch.testing.assert_close(cost, torch.tensor([[5.0, 12.0]]))


def test_near_the_goal_image_likeness_counts() -> None:
    objective = GoalImage(Heads(), white(), near=3)
    like, unlike = (future(steps=torch.tensor([[[1.0]]]), bright=b) for b in (1.0, 0.0))
    assert objective(start(1), like) < objective(start(1), unlike)


@given(
    fewer=st.floats(0, 20),
    more=st.floats(0, 20),
    likeness=st.floats(0, 1),
    weight=st.floats(0, 10),
)
def test_fewer_steps_never_cost_more(
    fewer: float, more: float, likeness: float, weight: float
) -> None:
    fewer, more = sorted((fewer, more))
    objective = GoalImage(Heads(), white(), likeness_weight=weight)
    cost = objective(start(1), future(steps=torch.tensor([[[fewer], [more]]]), bright=likeness))
    assert cost[0, 0] <= cost[0, 1] + 1e-5


def test_one_goal_serves_all_rows_and_several_serve_one_each() -> None:
    assert GoalImage(Heads(), white())(start(3), future(batch=3)).shape == (3, 1)
    goals = white(2)
    goals[1] = 0
    cost = GoalImage(Heads(), goals)(start(2), future(batch=2))
    assert cost[0, 0] < cost[1, 0]
    with pytest.raises(ValueError, match="2 goals but 3 rows"):
        GoalImage(Heads(), goals)(start(3), future(batch=3))


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8), np.uint8), np.full((8, 8, 3), np.nan)],
)
def test_a_goal_that_is_no_image_is_an_error(image: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="the goal image has"):
        GoalImage(Heads(), image)


def test_a_weighted_sum_adds_up() -> None:
    seen = future(progress=torch.tensor([[[0.5], [1.0]]]))
    total = WeightedSum(
        [(2.0, Progress(Heads())), (0.5, lambda context, rollout: torch.ones(1, 2))]
    )
    torch.testing.assert_close(total(start(1), seen), torch.tensor([[-0.5, -1.5]]))
    with pytest.raises(ValueError, match="no terms"):
        WeightedSum([])


def test_a_head_of_the_wrong_shape_is_an_error() -> None:
    with pytest.raises(ValueError, match="progress returned shape"):
        Progress(Heads())(start(1), Future(torch.zeros(1, 1), torch.zeros(1), torch.zeros(1)))


def test_settings_outside_their_range_are_errors() -> None:
    with pytest.raises(ValueError, match=r"discount=0\.0"):
        Progress(Heads(), 0.0)
    with pytest.raises(ValueError, match="near=-1"):
        GoalImage(Heads(), white(), near=-1)
