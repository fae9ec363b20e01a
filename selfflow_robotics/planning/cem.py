"""The cross-entropy method: sample action sequences, keep the best, sample around them again.

Rubinstein, "The cross-entropy method for combinatorial and continuous optimization", 1999. The
search runs in the normalised space of the :class:`ActionSpec`, where every bound is -1 or 1.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import Dynamics, Objective, Propose
from selfflow_robotics.streams import normal, row_generators

_SAMPLING, _PROPOSING, _IMAGINING = range(3)
_MEAN_CHECK = 0.25  # of an iteration's time, at most, to judge the one candidate that is the mean


class CEM:
    """Plans for all rows of a context in one batch.

    The first candidate is the mean the search starts from; proposals take the last places of the
    first iteration; the best candidate so far stays among those that elites are chosen from. Every
    iteration is judged with the same noise, so costs of different iterations compare.

    The plan is the elites' mean: a single best candidate is too often one whose cost the model
    misjudges (with an error of the cost's own size, the mean's true cost was a third lower). Only
    where the model finds the mean no better than the median candidate of the last iteration, as
    between two ways around an obstacle, or where no time is left to ask it, the plan is the best
    candidate. Where either is imagined to gain less than ``min_gain`` on what the search started
    from, the plan is that: what a good guess loses to a misjudged search can be much.

    Args:
        world_model: imagines; see :class:`Dynamics`.
        objective: costs of what was imagined, (B, K).
        candidates: K, action sequences in an iteration.
        iterations: at most this many.
        horizon: H, steps imagined.
        topk: elites of an iteration, at most ``candidates``.
        max_seconds: an iteration that would end later, going by the slowest so far, is not
            started. The first one always runs.
        initial_std: of the first samples, normalised (the whole range is 2).
        min_std: floor of the elites' standard deviation, normalised.
        min_gain: imagined cost that a plan must save, against what the search started from, to
            replace it; 0 or more.
        propose: draws likely action sequences, such as ``world_model.propose``; their mean is
            where a search without a previous plan starts.
        proposals: how many of the first candidates it draws; half of them when not given.
        seed: of every random number, together with the seeds given to :meth:`plan`.

    Raises:
        ValueError: a setting outside its range.
    """

    def __init__(
        self,
        world_model: Dynamics,
        objective: Objective,
        candidates: int = 64,
        iterations: int = 4,
        horizon: int = 4,
        topk: int = 8,
        max_seconds: float | None = None,
        initial_std: float = 0.7,
        min_std: float = 0.05,
        min_gain: float = 0.0,
        propose: Propose | None = None,
        proposals: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, count in (
            ("candidates", candidates),
            ("iterations", iterations),
            ("horizon", horizon),
            ("topk", topk),
        ):
            if count < 1:
                raise ValueError(f"CEM got {name}={count}; it must be 1 or more")
        if topk > candidates:
            raise ValueError(
                f"CEM got topk={topk} of candidates={candidates}; "
                "lower topk, a tenth of the candidates is usual"
            )
        if max_seconds is not None and not max_seconds > 0:
            raise ValueError(
                f"CEM got max_seconds={max_seconds}; give a time above 0, or None for no limit"
            )
        if not (initial_std > 0 and min_std >= 0 and min_gain >= 0):
            raise ValueError(
                f"CEM got initial_std={initial_std}, min_std={min_std} and min_gain={min_gain}; "
                "the first must be above 0, the others 0 or more"
            )
        if propose is None and proposals:
            raise ValueError(
                f"CEM got proposals={proposals} but nothing that draws them; "
                "pass propose=world_model.propose"
            )
        if proposals is None:
            proposals = 0 if propose is None else (candidates + 1) // 2
        if not 0 <= proposals <= candidates:
            raise ValueError(
                f"CEM got proposals={proposals}; it must lie in 0..candidates={candidates}"
            )
        if seed < 0:
            raise ValueError(f"CEM got seed={seed}; it must be 0 or more")
        self.world_model, self.objective, self.propose = world_model, objective, propose
        self.candidates, self.iterations, self.horizon = candidates, iterations, horizon
        self.topk, self.max_seconds, self.proposals = topk, max_seconds, proposals
        self.initial_std, self.min_std, self.min_gain = initial_std, min_std, min_gain
        self.seed = seed

    @torch.no_grad()
    def plan(
        self,
        context: Any,
        previous: Plan | Sequence[Plan | None] | None = None,
        *,
        executed: int = 1,
        seeds: Sequence[int] | None = None,
    ) -> Plan:
        """Search actions of low cost for every row; see :meth:`Solver.plan`.

        Raises:
            ValueError: costs, proposals or a previous plan of the wrong shape, or a row none of
                whose candidates has a finite cost.
        """
        started = time.perf_counter()
        seeds = self._seeds(context, seeds)
        sampling = row_generators(self.seed, seeds, _SAMPLING)
        proposals_BKHA = self._draw_proposals(context, seeds)
        mean_BHA = self._start(context.batch, previous, executed, proposals_BKHA)
        std_BHA = torch.full_like(mean_BHA, self.initial_std)
        best_BKHA = mean_BHA.new_empty(context.batch, 0, *mean_BHA.shape[1:])
        best_cost_BK = mean_BHA.new_empty(context.batch, 0)
        passes, slowest = 0, 0.0

        for iteration in range(1, self.iterations + 1):
            began = time.perf_counter()
            noise = normal(sampling, self.candidates, *mean_BHA.shape[1:])
            samples_BKHA = (mean_BHA[:, None] + std_BHA[:, None] * noise).clamp(-1, 1)
            if iteration == 1:
                samples_BKHA[:, 0] = mean_BHA
                samples_BKHA[:, self.candidates - self.proposals :] = proposals_BKHA
            cost_BK, used = self._judge(context, samples_BKHA, seeds)
            passes += used
            if iteration == 1:
                start_BHA, initial_cost_B = samples_BKHA[:, 0], cost_BK[:, 0]
            samples_BKHA = torch.cat([samples_BKHA, best_BKHA], dim=1)
            cost_BK = torch.cat([cost_BK, best_cost_BK], dim=1)
            elite_cost_BK, elite_BK = cost_BK.topk(self.topk, dim=1, largest=False)
            elites_BKHA = samples_BKHA.take_along_dim(elite_BK[:, :, None, None], dim=1)
            best_BKHA, best_cost_BK = elites_BKHA[:, :1], elite_cost_BK[:, :1]
            _require_finite(best_cost_BK, self.candidates, iteration)
            mean_BHA, std_BHA = _statistics(elites_BKHA, elite_cost_BK, self.min_std)
            slowest = max(slowest, time.perf_counter() - began)
            if not self._time_left(started, slowest * (1 + _MEAN_CHECK)):
                break

        chosen_BHA, chosen_cost_BK = best_BKHA[:, 0], best_cost_BK
        if self._time_left(started, slowest * _MEAN_CHECK):
            mean_cost_BK, used = self._judge(context, mean_BHA[:, None], seeds)
            passes += used
            sound_BK = mean_cost_BK < cost_BK.median(dim=1, keepdim=True).values
            chosen_BHA = torch.where(sound_BK[:, :, None], mean_BHA, chosen_BHA)
            chosen_cost_BK = torch.where(sound_BK, mean_cost_BK, chosen_cost_BK)
        gains_B = chosen_cost_BK[:, 0] <= initial_cost_B - self.min_gain
        chosen_BHA = torch.where(gains_B[:, None, None], chosen_BHA, start_BHA)
        mean_BHA = torch.where(gains_B[:, None, None], mean_BHA, start_BHA)
        return Plan(
            actions_BHA=self._environment_units(chosen_BHA),
            cost_B=torch.where(gains_B, chosen_cost_BK[:, 0], initial_cost_B),
            initial_cost_B=initial_cost_B,
            mean_BHA=mean_BHA,
            std_BHA=std_BHA,
            iterations=iteration,
            passes=passes,
            seconds=time.perf_counter() - started,
        )

    def _start(
        self,
        batch: int,
        previous: Plan | Sequence[Plan | None] | None,
        executed: int,
        proposals_BKHA: Tensor,
    ) -> Tensor:
        """The first mean: what the previous plan left, else the proposals' mean, else rest."""
        spec = self.world_model.action_spec
        rest = spec.normalize(torch.zeros(spec.size))
        rest = torch.where(rest.abs() < 1, rest, 0.0)  # zero may lie outside what is ever done
        mean_BHA = rest.repeat(batch, self.horizon, 1)
        if self.proposals:
            mean_BHA = proposals_BKHA.mean(dim=1)
        if isinstance(previous, Plan):
            previous = [previous.row(i) for i in range(len(previous.actions_BHA))]
        if previous is None:
            return mean_BHA
        if len(previous) != batch or executed < 0:
            raise ValueError(
                f"a previous plan of {len(previous)} rows with {executed} steps executed was given "
                f"for {batch} rows; give one a row, and 0 steps or more"
            )
        for row, plan in enumerate(previous):
            if plan is not None:
                if plan.mean_BHA.shape[-1] != spec.size:
                    raise ValueError(
                        f"the previous plan of row {row} has {plan.mean_BHA.shape[-1]} action "
                        f"entries, the world model {spec.size}; plan afresh after a change of model"
                    )
                left = plan.mean_BHA[0, executed:][: self.horizon]
                mean_BHA[row, : len(left)] = left
        return mean_BHA

    def _draw_proposals(self, context: Any, seeds: Sequence[int]) -> Tensor:
        """(B, proposals, H, A), normalised."""
        spec = self.world_model.action_spec
        shape = (context.batch, self.proposals, self.horizon, spec.size)
        if self.propose is None or not self.proposals:
            return torch.zeros(shape)
        generators = row_generators(self.seed, seeds, _PROPOSING)
        drawn = self.propose(context, self.proposals, self.horizon, generator=generators)
        if drawn.shape != shape or not drawn.isfinite().all():
            raise ValueError(
                f"propose returned {_described(drawn)} for {shape[0]} rows, {shape[1]} candidates "
                f"and {shape[2]} steps; it must return finite actions of shape {shape}"
            )
        return spec.normalize(drawn.float().cpu())

    def _judge(
        self, context: Any, samples_BKHA: Tensor, seeds: Sequence[int]
    ) -> tuple[Tensor, int]:
        """Costs (B, K), infinite where they were not finite, and the passes they took."""
        actions_BKHA = self._environment_units(samples_BKHA)
        generators = row_generators(self.seed, seeds, _IMAGINING)
        rollout = self.world_model.rollout(context, actions_BKHA, generator=generators)
        cost_BK = self.objective(context, rollout)
        if cost_BK.shape != actions_BKHA.shape[:2]:
            raise ValueError(
                f"the objective returned costs of shape {tuple(cost_BK.shape)} for a rollout of "
                f"{actions_BKHA.shape[0]} rows and {actions_BKHA.shape[1]} candidates; world model "
                f"and objective must keep the axes, {tuple(actions_BKHA.shape[:2])}"
            )
        cost_BK = cost_BK.float().cpu()
        return torch.where(cost_BK.isfinite(), cost_BK, torch.inf), getattr(rollout, "passes", 0)

    def _environment_units(self, normalised: Tensor) -> Tensor:
        spec = self.world_model.action_spec
        actions = spec.denormalize(normalised)
        return actions.clamp(actions.new_tensor(spec.low), actions.new_tensor(spec.high))

    def _time_left(self, started: float, needed: float) -> bool:
        return (
            self.max_seconds is None or time.perf_counter() - started + needed <= self.max_seconds
        )

    @staticmethod
    def _seeds(context: Any, seeds: Sequence[int] | None) -> Sequence[int]:
        seeds = [0] * context.batch if seeds is None else seeds
        if len(seeds) != context.batch or any(seed < 0 for seed in seeds):
            raise ValueError(
                f"the seeds {list(seeds)} were given for {context.batch} rows; "
                "give one each, 0 or more"
            )
        return seeds


def _statistics(elites_BKHA: Tensor, cost_BK: Tensor, min_std: float) -> tuple[Tensor, Tensor]:
    """Mean and floored standard deviation, (B, H, A), of the elites whose cost is finite."""
    weight = cost_BK.isfinite().float()[:, :, None, None]
    weight = weight / weight.sum(dim=1, keepdim=True)
    mean_BHA = (weight * elites_BKHA).sum(dim=1)
    variance_BHA = (weight * (elites_BKHA - mean_BHA[:, None]).square()).sum(dim=1)
    return mean_BHA, variance_BHA.sqrt().clamp(min=min_std)


def _require_finite(best_cost_BK: Tensor, candidates: int, iteration: int) -> None:
    lost = (~best_cost_BK[:, 0].isfinite()).nonzero()[:, 0].tolist()
    if lost:
        raise ValueError(
            f"none of the {candidates} candidates of row {lost[0]} has a finite cost in iteration "
            f"{iteration} (rows concerned: {lost}); the world model or the objective returned NaN "
            "or infinity: check the weights and the observation of that row"
        )


def _described(drawn: Tensor) -> str:
    finite = "" if drawn.isfinite().all() else " with values that are not finite"
    return f"actions of shape {tuple(drawn.shape)}{finite}"
