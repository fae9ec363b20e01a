"""What action sequences cost: imagined by the world model, priced by the objective."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds
from selfflow_robotics.planning.protocol import Dynamics, Objective
from selfflow_robotics.streams import RowStreams

_IMAGINING = 2  # and up, one for each imagined sample; solvers draw with lower purposes
_LEAST_VARIANCE = 1e-12  # below it a standard deviation has no useful gradient


@dataclass(frozen=True)
class Judgement:
    """Of K candidates for each of B rows; float32 on CPU."""

    cost_BK: Tensor  # infinite where it was not finite
    passes: int  # network passes of all rows
    gradient_BKHA: Tensor | None = None  # of each one's cost by its normalised actions

    @staticmethod
    def joined(parts: Sequence[Judgement]) -> Judgement:
        """Of all candidates that were judged in parts."""
        if len(parts) == 1:
            return parts[0]
        gradients = [part.gradient_BKHA for part in parts if part.gradient_BKHA is not None]
        return Judgement(
            torch.cat([part.cost_BK for part in parts], dim=1),
            sum(part.passes for part in parts),
            torch.cat(gradients, dim=1) if gradients else None,
        )


@dataclass(eq=False)
class Judge:
    """Imagines and prices candidates, always with the same noise, so that costs compare.

    With several imagined futures a candidate (``samples``, each with noise of its own, the same for
    all candidates of a row), its cost is their mean plus ``pessimism`` times their standard
    deviation: what the world model is unsure of costs more, so that a longer search does not end
    where the model errs in its favour.

    Raises:
        ValueError: no samples, a negative pessimism, or pessimism about a single sample.
    """

    world_model: Dynamics
    objective: Objective
    samples: int = 1
    pessimism: float = 0.0
    seed: int = 0

    informed: ClassVar[bool] = True
    """Whether its costs say anything, so that a mean over good candidates can be good."""

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 <= self.pessimism < float("inf"):
            raise ValueError(
                f"the judge got samples={self.samples} and pessimism={self.pessimism}; "
                "give 1 sample or more, and a pessimism of 0 or more"
            )
        if self.pessimism and self.samples == 1:
            raise ValueError(
                f"the judge got pessimism={self.pessimism} with samples=1, but one imagined future "
                "has no spread to be pessimistic about; give samples=2 or more, or pessimism=0"
            )
        self._bounds = Bounds(self.world_model.action_spec)
        self._at_once = sys.maxsize  # sequences, of all rows, whose gradients fit in memory

    @torch.no_grad()
    def cost(self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]) -> Judgement:
        """Price candidates.

        Args:
            context: of B rows, from the world model.
            candidates_BKHA: normalised; what lies outside the bounds is put inside.
            seeds: one a row.

        Raises:
            ValueError: world model or objective returned something of another shape.
        """
        cost_BK, passes = self._price(context, candidates_BKHA, seeds)
        return Judgement(cost_BK.nan_to_num(*3 * (torch.inf,)), passes)

    def cost_and_gradient(
        self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]
    ) -> Judgement:
        """Price candidates, and say which way each gets cheaper; 0 where that is not finite.

        An entry outside its bounds has no gradient. As many at once as fit in the GPU's memory:
        half as many for good, where it ended.

        Raises:
            ValueError: as :meth:`cost`, or costs without a gradient by the actions.
            MemoryError: there is no memory for a single candidate.
        """
        parts: list[Judgement] = []
        done, (rows, count) = 0, candidates_BKHA.shape[:2]
        while done < count:
            most = max(1, min(self._at_once // rows, count - done))
            try:
                part_BKHA = candidates_BKHA[:, done : done + most]
                parts.append(self._priced_with_gradient(context, part_BKHA, seeds))
                done += most
                continue
            except torch.OutOfMemoryError as error:
                reason = str(error)
            # Out of the handler, which would hold the tensors of the failed attempt.
            if most == 1:
                raise MemoryError(
                    f"the gradients of one candidate for each of {rows} rows do not fit in memory; "
                    "plan for fewer rows at once, shorten the horizon or the history, or use a "
                    f"solver that needs none, as CEM ({reason})"
                )
            self._at_once = most // 2 * rows
            torch.cuda.empty_cache()
        return Judgement.joined(parts)

    def _priced_with_gradient(
        self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]
    ) -> Judgement:
        with torch.enable_grad():
            leaf_BKHA = candidates_BKHA.detach().clone().requires_grad_()
            cost_BK, passes = self._price(context, leaf_BKHA, seeds)
            if not cost_BK.requires_grad:
                raise ValueError(
                    "the costs have no gradient by the actions: the world model or the objective "
                    "computes without gradients; use a solver that needs none, such as CEM"
                )
            # Candidates do not touch each other, so the sum's gradient is each one's own.
            (gradient_BKHA,) = torch.autograd.grad(cost_BK.sum(), leaf_BKHA)
        gradient_BKHA = gradient_BKHA.nan_to_num(0.0, 0.0, 0.0)
        cost_BK = cost_BK.detach()
        return Judgement(cost_BK.nan_to_num(*3 * (torch.inf,)), passes, gradient_BKHA)

    def _price(
        self, context: Any, candidates_BKHA: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, int]:
        actions_BKHA = self._bounds.to_environment(candidates_BKHA)
        costs, passes = [], 0
        for sample in range(self.samples):
            generators = RowStreams(self.seed, seeds, _IMAGINING + sample)
            rollout = self.world_model.rollout(context, actions_BKHA, generator=generators)
            cost_BK = self.objective(context, rollout)
            require_real(cost_BK, "the objective")
            _require_shapes(actions_BKHA, rollout, cost_BK)
            costs.append(cost_BK.float().cpu())
            passes += getattr(rollout, "passes", 0)
        if self.samples == 1:
            return costs[0], passes
        cost_SBK = torch.stack(costs)
        spread_BK = cost_SBK.var(dim=0, correction=0).clamp(min=_LEAST_VARIANCE).sqrt()
        return cost_SBK.mean(dim=0) + self.pessimism * spread_BK, passes


def require_real(returned: Any, name: str) -> None:
    """Refuse what is no tensor of real numbers.

    Raises:
        ValueError: names what returned it.
    """
    if not isinstance(returned, Tensor) or returned.is_complex():
        kind = returned.dtype if isinstance(returned, Tensor) else type(returned).__name__
        raise ValueError(f"{name} returned {kind}; it must return a torch.Tensor of real numbers")


def _require_shapes(actions_BKHA: Tensor, rollout: Any, cost_BK: Tensor) -> None:
    imagined = getattr(rollout, "actions_BKHA", actions_BKHA).shape
    if imagined != actions_BKHA.shape:
        raise ValueError(
            f"the world model was asked for actions of shape {tuple(actions_BKHA.shape)} and "
            f"returned a rollout of {tuple(imagined)}; it must keep rows, candidates and steps"
        )
    if cost_BK.shape != actions_BKHA.shape[:2]:
        raise ValueError(
            f"the objective returned costs of shape {tuple(cost_BK.shape)} for a rollout of "
            f"{actions_BKHA.shape[0]} rows and {actions_BKHA.shape[1]} candidates; world model "
            f"and objective must keep the axes, {tuple(actions_BKHA.shape[:2])}"
        )
