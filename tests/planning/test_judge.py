"""What candidates cost, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from selfflow_robotics.planning import CEM, Adam, Judge

from .point_mass import Effort, Path, PointMass, spec, start

SPEC = spec(q01=(-1.0, -1.0), q99=(1.0, 1.0))
CANDIDATES = torch.linspace(-1, 1, 2 * 5 * 3 * 2).reshape(2, 5, 3, 2)


def unsure(context: Any, path: Path) -> Tensor:
    """A cost that the world model's noise sways the more, the larger the first action."""
    first = path.actions_BKHA[:, :, 0, 0]
    return -first + 3 * first.abs() * path.noise_BK


def test_pessimism_adds_the_deviation_of_the_imagined_samples() -> None:
    model = PointMass(SPEC)
    seen: list[Tensor] = []

    def remembered(context: Any, path: Path) -> Tensor:
        seen.append(unsure(context, path))
        return seen[-1]

    judged = Judge(model, remembered, samples=4, pessimism=0.7).cost(start(2), CANDIDATES, [1, 2])
    costs = torch.stack(seen)
    assert len(seen) == 4 and not torch.equal(seen[0], seen[1])
    expected = costs.mean(0) + 0.7 * costs.std(0, correction=0)
    torch.testing.assert_close(judged.cost_BK, expected, atol=1e-5, rtol=0)
    assert judged.passes == 4 * CANDIDATES.shape[:3].numel()


def test_pessimism_keeps_a_search_from_where_the_model_is_unsure() -> None:
    def chosen(pessimism: float) -> Tensor:
        solver = CEM(PointMass(SPEC), unsure, samples=8, pessimism=pessimism)
        return solver.plan(start(16), seeds=range(16)).actions_BHA[:, 0, 0].abs().mean()

    assert chosen(3.0) < 0.5 * chosen(0.0)


def test_a_row_has_its_own_noise_which_all_its_candidates_share() -> None:
    judge = Judge(PointMass(SPEC), lambda context, path: path.noise_BK, samples=2)
    both = judge.cost(start(2), CANDIDATES, [3, 4]).cost_BK
    assert (both == both[:, :1]).all() and both[0, 0] != both[1, 0]
    alone = judge.cost(start(1), CANDIDATES[1:], [4]).cost_BK
    assert torch.equal(alone[0], both[1])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples=0"),
        ({"samples": 2, "pessimism": -1.0}, "pessimism=-1"),
        ({"samples": 2, "pessimism": float("nan")}, "pessimism=nan"),
        ({"pessimism": 0.5}, "one imagined future has no spread to be pessimistic about"),
    ],
)
def test_settings_outside_their_range_are_errors(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Judge(PointMass(SPEC), unsure, **settings)


def test_gradients_are_those_of_each_candidate_alone() -> None:
    objective = Effort(torch.tensor([[0.5, 0.5], [-1.0, 2.0]]))
    judged = Judge(PointMass(SPEC), objective).cost_and_gradient(start(2), CANDIDATES, [0, 0])
    step = torch.zeros_like(CANDIDATES)
    step[1, 3, 2, 1] = 1e-2
    judge = Judge(PointMass(SPEC), objective)
    more = judge.cost(start(2), CANDIDATES + step, [0, 0]).cost_BK
    less = judge.cost(start(2), CANDIDATES - step, [0, 0]).cost_BK
    assert judged.gradient_BKHA is not None
    slope = (more - less)[1, 3] / 2e-2
    torch.testing.assert_close(judged.gradient_BKHA[1, 3, 2, 1], slope, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(judged.cost_BK, judge.cost(start(2), CANDIDATES, [0, 0]).cost_BK)


class SmallMemory(PointMass):
    """A GPU that holds the gradients of four sequences."""

    holds = 4
    counts: list[int]

    def rollout(self, context: Any, actions_BKHA: Tensor, /, **given: Any) -> Path:
        self.counts.append(actions_BKHA.shape[1])
        if actions_BKHA.shape[:2].numel() > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().rollout(context, actions_BKHA, **given)


def test_gradients_come_in_parts_where_memory_ends() -> None:
    model, seeds = SmallMemory(SPEC), [1, 2]
    model.counts = []
    objective = Effort(torch.tensor([[0.5, 0.5]]))
    judge = Judge(model, objective)
    whole = Judge(PointMass(SPEC), objective).cost_and_gradient(start(2), CANDIDATES, seeds)
    for asked in ([5, 2, 2, 1], [2, 2, 1]):  # what did not fit once is not tried again
        model.counts.clear()
        parts = judge.cost_and_gradient(start(2), CANDIDATES, seeds)
        assert model.counts == asked
        assert torch.equal(parts.cost_BK, whole.cost_BK) and parts.passes == whole.passes
        assert parts.gradient_BKHA is not None and whole.gradient_BKHA is not None
        assert torch.equal(parts.gradient_BKHA, whole.gradient_BKHA)
    model.counts.clear()
    judge.cost_and_gradient(start(1), CANDIDATES[:1], [1])
    assert model.counts == [4, 1]  # of a single row, twice as many
    model.holds = 0
    with pytest.raises(MemoryError, match=r"each of 2 rows .*CUDA out of memory"):
        judge.cost_and_gradient(start(2), CANDIDATES, seeds)


def test_an_objective_without_gradients_is_an_error_for_a_solver_that_needs_them() -> None:
    def detached(context: Any, path: Path) -> Tensor:
        return path.actions_BKHA.detach().sum((-1, -2))

    with pytest.raises(ValueError, match="no gradient by the actions"):
        Adam(PointMass(SPEC), detached).plan(start(2))


@pytest.mark.parametrize("lost", ["rows", "candidates", "steps"])
def test_a_world_model_that_returns_another_shape_is_an_error(lost: str) -> None:
    class Careless(PointMass):
        def rollout(self, context: Any, actions_BKHA: Tensor, /, *, generator: Any = None) -> Path:
            part = {"rows": (slice(1),), "candidates": (slice(None), slice(1))}
            index = part.get(lost, (slice(None), slice(None), slice(1)))
            return super().rollout(context, actions_BKHA[index])

    with pytest.raises(ValueError, match=r"was asked for actions of shape \(2, 5, 3, 2\)"):
        Judge(Careless(SPEC), Effort(torch.zeros(1, 2))).cost(start(2), CANDIDATES, [0, 0])
