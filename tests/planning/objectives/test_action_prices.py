"""What actions cost by themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_world import candidate_actions, history, world_model

from selfflow_robotics.planning import CEM, ActionMagnitude, ActionSmoothness, WeightedSum

from ..point_mass import At, Path, PointMass, spec, start

# Of what was done, 0 is in the middle of the first axis and at the edge of the second.
SPEC = spec((-0.5, 0.0), (0.5, 1.0))


def path(*candidates: list[list[float]]) -> Path:
    actions = torch.tensor(candidates)[None]
    return Path(actions, actions.cumsum(2), torch.zeros(actions.shape[:2]), 0)


def test_magnitude_is_zero_at_rest_and_grows_with_what_is_done() -> None:
    cost = ActionMagnitude(SPEC)(
        start(1), path([[0.0, 0.0], [0.0, 0.0]], [[0.25, 0.0], [0.0, 0.0]], [[0.5, 1.0]] * 2)
    )
    # Normalised: (1/2)^2 over four entries; then 1 and, from -1 to 1, 2 away from rest.
    torch.testing.assert_close(cost, torch.tensor([[0.0, 0.0625, 2.5]]))


def test_smoothness_is_the_change_from_action_to_action() -> None:
    steady, jerky = [[0.25, 0.5]] * 3, [[0.25, 0.5], [-0.25, 0.5], [0.25, 0.5]]
    cost = ActionSmoothness(SPEC)(start(1), path(steady, jerky))
    torch.testing.assert_close(cost, torch.tensor([[0.0, 0.5]]))  # of 1, 0, 1 and 0


def test_the_action_executed_last_counts_where_it_is_known() -> None:
    class Acted(At):
        last_action_BA = torch.tensor([[0.25, 0.5]])

    objective = ActionSmoothness(SPEC)
    one_step = path([[0.25, 0.5]], [[-0.25, 0.5]])
    context = Acted(torch.zeros(1, 2))
    torch.testing.assert_close(objective(context, one_step), torch.tensor([[0.0, 0.5]]))
    torch.testing.assert_close(objective(start(1), one_step), torch.zeros(1, 2))


def test_the_world_model_knows_its_last_action_and_what_it_was_asked() -> None:
    model = world_model()
    frames, actions, states = history(2, 2)
    context = model.observe(frames, actions, "pick can", states)
    assert context.last_action_BA is not None
    np.testing.assert_array_equal(context.last_action_BA.numpy(), actions[:, -1])
    assert model.observe(frames[:, :1], actions[:, :0]).last_action_BA is None
    asked = candidate_actions(2, 3, 2)
    asked[:, 0] = context.last_action_BA[:, None]
    rollout = model.rollout(context, asked)
    torch.testing.assert_close(rollout.actions_BKHA, asked)
    cost = ActionSmoothness(model.action_spec)(context, rollout)
    assert cost.shape == (2, 3)
    torch.testing.assert_close(cost[:, 0], torch.zeros(2))
    assert (cost[:, 1:] > 0).all()


def test_a_planner_that_pays_for_actions_does_less() -> None:
    world = PointMass(SPEC)

    def distance(context: At, rollout: Path) -> torch.Tensor:
        return (rollout.position_BKHA[:, :, -1] - 0.8).square().sum(-1)

    def effort(weight: float) -> float:
        objective = WeightedSum([(1.0, distance), (weight, ActionMagnitude(SPEC))])
        plan = CEM(world, objective, 64, 6, horizon=2, topk=8).plan(start(1))
        return float(plan.actions_BHA.square().sum())

    assert effort(1.0) < 0.8 * effort(0.0)


@pytest.mark.parametrize("price", [ActionMagnitude(SPEC), ActionSmoothness(SPEC)])
def test_a_rollout_without_its_actions_is_a_clear_error(price: ActionMagnitude) -> None:
    with pytest.raises(ValueError, match="but object has no actions_BKHA"):
        price(start(1), object())
