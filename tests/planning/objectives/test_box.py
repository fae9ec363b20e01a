"""How deep the tool is in a box, read from imagined proprioception."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_STATE, StateSpec
from selfflow_robotics.planning import CEM, Constraint, DepthInBox, WeightedSum

from ..point_mass import Path, PointMass, spec, start


@dataclass(frozen=True)
class Felt:
    states_BKHP: Tensor | None


def felt(*positions: list[float]) -> Felt:
    states_HP = torch.zeros(len(positions), 8)
    states_HP[:, :3] = torch.tensor(positions)
    return Felt(RT1_STATE.normalize(states_HP)[None, None])


def test_the_depth_is_the_distance_to_the_nearest_side() -> None:
    future = felt([0.5, 0.0, 0.9], [0.5, 0.08, 0.9], [0.5, 0.3, 0.9], [0.0, 0.3, 0.9])
    depth = DepthInBox(RT1_STATE, (0.3, -0.1, 0.6), (0.7, 0.1, 1.05))(start(1), future)
    torch.testing.assert_close(depth, torch.tensor([[[0.1, 0.02, -0.2, -0.3]]]))


def test_a_box_without_end_is_a_height() -> None:
    future, no = felt([0.5, 0.0, 0.9], [0.1, 3.0, 0.7]), float("inf")
    below = DepthInBox(RT1_STATE, (-no, -no, -no), (no, no, 0.8))
    torch.testing.assert_close(below(start(1), future), torch.tensor([[[-0.1, 0.1]]]))


def test_every_row_may_have_its_box() -> None:
    rollout = Felt(felt([0.5, 0.0, 0.9]).states_BKHP.expand(2, 1, 1, 8))  # type: ignore[union-attr]
    low, high = [[0.0, -1.0, 0.0], [0.0, -1.0, 0.0]], [[1.0, 1.0, 1.0], [1.0, 1.0, 0.8]]
    depth = DepthInBox(RT1_STATE, low, high)(start(2), rollout)
    torch.testing.assert_close(depth.flatten(), torch.tensor([0.1, -0.1]))
    with pytest.raises(ValueError, match="DepthInBox holds 2 goals but 3 rows"):
        DepthInBox(RT1_STATE, low, high)(start(3), rollout)


def test_a_plan_goes_round_it() -> None:
    class Felt3D(PointMass):
        def rollout(self, context: object, actions_BKHA: Tensor, /, **given: object) -> Felt:  # type: ignore[override]
            path: Path = super().rollout(context, actions_BKHA, **given)  # type: ignore[arg-type]
            return Felt(path.position_BKHA)

    plain = StateSpec(("x", "y", "z"), (0.0,) * 3, (1.0,) * 3)
    depth = DepthInBox(plain, (0.2, -0.3, -1.0), (0.6, 0.3, 1.0))
    world = Felt3D(spec((-0.4,) * 3, (0.4,) * 3))

    def distance(context: object, rollout: Felt) -> Tensor:
        assert rollout.states_BKHP is not None
        return (rollout.states_BKHP[:, :, -1] - torch.tensor([0.8, 0.0, 0.0])).norm(dim=-1)

    for weight, inside in ((1e-9, True), (100.0, False)):
        limit = Constraint(depth, high=-0.02, weight=weight)
        cem = CEM(world, WeightedSum([(1.0, distance), (1.0, limit)]), 256, 10, horizon=4, topk=16)
        way = cem.plan(start(1, 3)).actions_BHA[0].cumsum(0)
        deep = depth(start(1, 3), Felt(way[None, None]))
        assert bool((deep > 0).any()) == inside and (way[-1, 0] - 0.8).abs() < 0.15


def test_what_cannot_be_read_is_said() -> None:
    box = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="proprioception, of which there is none"):
        DepthInBox(None, *box)
    with pytest.raises(ValueError, match="of which there is joint 1, joint 2; use a model"):
        DepthInBox(StateSpec(("joint 1", "joint 2")), *box)
    with pytest.raises(ValueError, match="give x, y, z, low < high"):
        DepthInBox(RT1_STATE, box[1], box[0])
    with pytest.raises(ValueError, match="give x, y, z, low < high"):
        DepthInBox(RT1_STATE, (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="DepthInBox reads proprioception of its frames"):
        DepthInBox(RT1_STATE, *box)(start(1), Felt(None))
