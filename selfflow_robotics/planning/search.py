"""What all solvers share: a search in rounds of candidates, each judged and learnt from.

A solver says how it samples a round (:meth:`Search.sample`) and what it learns from its costs
(:meth:`Search.update`); starting, judging, budgets and the plan are the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from selfflow_robotics.planning.bounds import Bounds
from selfflow_robotics.planning.budget import Budget, Pace, Stopwatch
from selfflow_robotics.planning.elites import best_of
from selfflow_robotics.planning.judge import Judge, Judgement, require_real
from selfflow_robotics.planning.plan import Plan
from selfflow_robotics.planning.protocol import Dynamics, Objective, Propose
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.start import first_mean, rows_of
from selfflow_robotics.streams import RowStreams

_SAMPLING, _PROPOSING = range(2)  # purposes of random streams; the judge has the higher ones


@dataclass(eq=False)
class Search(ABC):
    """Plans for all rows of a context in one batch.

    The first candidate is what the search starts from, proposals come next. The best candidate so
    far is never lost. Every round is judged with the same noise, so costs of different rounds
    compare. Where a plan is imagined to gain less than ``min_gain`` on what the search started
    from, the plan is that: what a good guess loses to a misjudged search can be much.

    Args:
        world_model: imagines; see :class:`Dynamics`.
        objective: costs of what was imagined, (B, K).
        candidates: K, action sequences in an iteration.
        iterations: at most this many.
        horizon: H, steps imagined.
        max_seconds: what a plan may take, kept to within a tenth: candidates that would end later,
            going by the last ones, are not judged. The first one always is.
        max_passes: network passes that the rollouts of a row may take; the first candidate is
            always judged. What ``propose`` takes is not counted.
        samples: imagined futures a candidate.
        pessimism: standard deviations of these futures' costs that are added to their mean; see
            :class:`Judge`.
        min_gain: imagined cost that a plan must save, against what the search started from, to
            replace it; 0 or more.
        propose: draws likely action sequences, such as ``world_model.propose``; their mean is
            where a search without a previous plan starts.
        proposals: how many candidates it draws; half of them when not given. The start keeps its
            place where they ask for all.
        seed: of every random number, together with the seeds given to :meth:`plan`.
        judging: the class of what prices candidates.

    Raises:
        ValueError: a setting outside its range.
    """

    world_model: Dynamics
    objective: Objective
    candidates: int = 64
    iterations: int = 4
    horizon: int = 4
    max_seconds: float | None = None
    max_passes: int | None = None
    samples: int = 1
    pessimism: float = 0.0
    min_gain: float = 0.0
    propose: Propose | None = None
    proposals: int | None = None
    seed: int = 0
    judging: type[Judge] = Judge

    trusts_mean: ClassVar[bool] = False
    """Whether the mean is the plan, unless it is judged no better than the median candidate."""
    wants_gradients: ClassVar[bool] = False
    """Whether a round's costs come with their gradients."""

    def __post_init__(self) -> None:
        name = type(self).__name__
        for key in ("candidates", "iterations", "horizon", "samples", "seed", "proposals", "topk"):
            count = getattr(self, key, None)  # not every solver has each
            if count is not None and not isinstance(count, Integral):
                raise ValueError(f"{name} got {key}={count!r}; give a whole number")
        for key in ("candidates", "iterations", "horizon"):
            if getattr(self, key) < 1:
                raise ValueError(f"{name} got {key}={getattr(self, key)}; it must be 1 or more")
        for key in ("max_seconds", "max_passes"):
            limit = getattr(self, key)
            if limit is not None and not limit > 0:
                raise ValueError(
                    f"{name} got {key}={limit}, a budget that allows nothing; give more than 0, "
                    "or None for no limit"
                )
        if not self.min_gain >= 0:
            raise ValueError(f"{name} got min_gain={self.min_gain}; it must be 0 or more")
        if self.propose is None and self.proposals:
            raise ValueError(
                f"{name} got proposals={self.proposals} but nothing that draws them; "
                "pass propose=world_model.propose"
            )
        half = 0 if self.propose is None else (self.candidates + 1) // 2
        self.drawn = half if self.proposals is None else self.proposals
        if not 0 <= self.drawn <= self.candidates:
            raise ValueError(
                f"{name} got proposals={self.proposals}; it must lie in "
                f"0..candidates={self.candidates}"
            )
        if self.seed < 0:
            raise ValueError(f"{name} got seed={self.seed}; it must be 0 or more")
        self.bounds = Bounds(self.world_model.action_spec)
        self.judge = self.judging(
            self.world_model, self.objective, self.samples, self.pessimism, self.seed
        )
        self.judges_mean = self.trusts_mean and self.judging.informed
        self.paces = {"judge": Pace()}

    @property
    def keeps(self) -> int:
        """How many of the best candidates are kept from round to round."""
        return 1

    @property
    def learns_from(self) -> int:
        """How many elites a whole round teaches."""
        return 1

    def first_mean(self, run: Run, proposals_BKHA: Tensor) -> Tensor:
        """Where the search starts, (B, H, A): the last plan, and the proposals' mean after it."""
        return first_mean(self.bounds, run.previous, run.executed, self.horizon, proposals_BKHA)

    @abstractmethod
    def sample(self, run: Run) -> Tensor:
        """The candidates of a round, (B, K, H, A) normalised; the bounds are seen to later.

        K may differ from round to round. Everything random comes from the run's streams.
        """

    @abstractmethod
    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        """Learn from a round: set the run's ``mean_BHA`` and ``std_BHA`` for the next.

        Args:
            run: knows what was judged of the round.
            elites_BKHA: the best of the round's candidates, and of those kept from earlier ones;
                cheapest first. From the second round on perhaps outside the bounds. Where a row has
                fewer of finite cost, these in turn.
            cost_BK: theirs, finite.
        """

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
        run, proposals_BKHA = self._begin(context, previous, executed, seeds)
        for iteration in range(1, self.iterations + 1):
            run.iteration = iteration
            asked_BKHA = self.sample(run)
            if iteration == 1:
                asked_BKHA = self.bounds.clamp(self.compose(run, asked_BKHA, proposals_BKHA))
            judged = self._judge(run, asked_BKHA)
            if judged is None:
                break
            if iteration == 1:
                start_BHA, initial_cost_B = asked_BKHA[:, 0], judged.cost_BK[:, 0]
            last_cost_BK = self._learn(run, asked_BKHA, judged)
            if run.completed < 1:
                break
        return self._conclude(run, start_BHA, initial_cost_B, last_cost_BK)

    def _learn(self, run: Run, asked_BKHA: Tensor, judged: Judgement) -> Tensor:
        """Find the elites of a round and update; returns the costs they were chosen by, (B, K)."""
        count = judged.cost_BK.shape[1]
        run.iterations, run.completed = run.iteration, count / asked_BKHA.shape[1]
        run.asked_BKHA, run.gradient_BKHA = asked_BKHA[:, :count], judged.gradient_BKHA
        # From the second round on, samples count as they were before the bounds cut them, once: the
        # mean of cut ones never reaches a bound.
        pool_BKHA = torch.cat([run.asked_BKHA, run.kept_BKHA], dim=1)
        pool_cost_BK = torch.cat([judged.cost_BK, run.kept_cost_BK], dim=1)
        elites = run.share_of(self.learns_from)
        best_BKHA, best_cost_BK = best_of(pool_BKHA, pool_cost_BK, max(elites, self.keeps))
        run.kept_BKHA = self.bounds.clamp(best_BKHA[:, : self.keeps])
        run.kept_cost_BK = best_cost_BK[:, : self.keeps]
        self.update(run, best_BKHA[:, :elites], best_cost_BK[:, :elites])
        run.mean_BHA = self.bounds.clamp(run.mean_BHA)
        return pool_cost_BK

    def _begin(
        self,
        context: Any,
        previous: Plan | Sequence[Plan | None] | None,
        executed: int,
        seeds: Sequence[int] | None,
    ) -> tuple[Run, Tensor]:
        """A run that has judged nothing yet, and its proposals (B, P, H, A)."""
        if context.batch < 1:
            raise ValueError("the context has no rows, so there is nothing to plan for")
        budget = Budget(
            context.batch,
            self.paces["judge"],
            self.max_seconds,
            self.max_passes,
            int(self.judges_mean),
        )
        seeds = _checked(seeds, context.batch)
        plans = rows_of(previous, context.batch, executed)
        shape = (context.batch, self.horizon, self.world_model.action_spec.size)
        run = Run(
            context,
            seeds,
            plans,
            executed,
            sampling=RowStreams(self.seed, seeds, _SAMPLING),
            proposing=RowStreams(self.seed, seeds, _PROPOSING),
            budget=budget,
            modelling=Stopwatch(),
            mean_BHA=torch.zeros(shape),
            std_BHA=torch.zeros(shape),
            kept_BKHA=torch.empty(shape[0], 0, *shape[1:]),
            kept_cost_BK=torch.empty(shape[0], 0),
        )
        proposals_BKHA = self._propose(run)
        run.mean_BHA = self.first_mean(run, proposals_BKHA)
        return run, proposals_BKHA

    def _propose(self, run: Run) -> Tensor:
        """(B, P, H, A), normalised; P may be below the number asked for where time is short."""

        def proposed(done: int, count: int) -> Tensor:
            assert self.propose is not None
            return self.propose(run.context, count, self.horizon, generator=run.proposing)

        wanted = min(self.drawn, max(1, self.candidates - 1)) if self.propose else 0
        return self.draw(run, proposed, wanted, "propose")

    def draw(self, run: Run, draw: Callable[[int, int], Tensor], wanted: int, name: str) -> Tensor:
        """Candidates that a function of the world model makes, normalised: (B, K, H, A).

        Args:
            run: whose budget they are drawn from: as many as leave time to judge them, at least 1.
            draw: from how many there are and how many are to come to those, environment units.
            wanted: K at most.
            name: of the function, for messages.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        pace = self.paces.setdefault(name, Pace())
        rows, horizon, size = run.mean_BHA.shape
        parts = [torch.empty(rows, 0, horizon, size)]
        done, end = 0, run.budget.half_time  # the other half is for judging them
        while done < wanted:
            count = run.budget.drawable(wanted - done, pace, end)
            if not count and done:
                break
            count = max(1, count)
            took = Stopwatch()
            with took, run.modelling:
                actions = draw(done, count)
            shape = (rows, count, horizon, size)
            require_real(actions, name)
            finite = bool(actions.isfinite().all())
            if tuple(actions.shape) != shape or not finite:
                lacking = "" if finite else " with values that are not finite"
                raise ValueError(
                    f"{name} returned actions of shape {tuple(actions.shape)}{lacking} for {rows} "
                    f"rows, {count} candidates and {horizon} steps; it must return finite actions "
                    f"of shape {shape}"
                )
            run.budget.note(pace, count, took.seconds)
            parts.append(self.bounds.from_environment(actions))
            done += count
        return torch.cat(parts, dim=1)

    def compose(self, run: Run, sampled_BKHA: Tensor, proposals_BKHA: Tensor) -> Tensor:
        """The first round: the start, the proposals, and samples in the places that are left."""
        drawn = min(proposals_BKHA.shape[1], self.candidates - 1)
        others_BKHA = sampled_BKHA[:, 1 : self.candidates - drawn]
        return torch.cat([run.mean_BHA[:, None], proposals_BKHA[:, :drawn], others_BKHA], dim=1)

    def _judge(
        self, run: Run, candidates_BKHA: Tensor, reserve: int | None = None
    ) -> Judgement | None:
        """Costs of the first candidates, as many as the budget allows; None where it allows none.

        Args:
            reserve: candidates that the budget holds back; by default, those for the end.
        """
        price = self.judge.cost_and_gradient if self.wants_gradients else self.judge.cost
        parts: list[Judgement] = []
        done, wanted = 0, candidates_BKHA.shape[1]
        while done < wanted and (room := run.budget.room(wanted - done, reserve)):
            part = Stopwatch()
            with part, run.modelling:
                judged = price(run.context, candidates_BKHA[:, done : done + room], run.seeds)
            run.budget.spend(room, judged.passes, part.seconds)
            parts.append(judged)
            done += room
        return Judgement.joined(parts) if parts else None

    def _conclude(
        self, run: Run, start_BHA: Tensor, initial_cost_B: Tensor, last_cost_BK: Tensor
    ) -> Plan:
        """The mean or the best candidate, or the start where neither gains enough."""
        chosen_BHA, cost_BK = run.kept_BKHA[:, 0], run.kept_cost_BK[:, :1]
        judged = self._judge(run, run.mean_BHA[:, None], reserve=0) if self.judges_mean else None
        if judged is not None:
            sound_BK = judged.cost_BK < last_cost_BK.median(dim=1, keepdim=True).values
            chosen_BHA = torch.where(sound_BK[:, :, None], run.mean_BHA, chosen_BHA)
            cost_BK = torch.where(sound_BK, judged.cost_BK, cost_BK)
        gains_B = cost_BK[:, 0] <= initial_cost_B - self.min_gain
        gains_B11 = gains_B[:, None, None]
        seconds = run.budget.seconds
        return Plan(
            actions_BHA=self.bounds.to_environment(torch.where(gains_B11, chosen_BHA, start_BHA)),
            cost_B=torch.where(gains_B, cost_BK[:, 0], initial_cost_B),
            initial_cost_B=initial_cost_B,
            mean_BHA=torch.where(gains_B11, run.mean_BHA, start_BHA),
            std_BHA=run.std_BHA,
            elites_BKHA=run.kept_BKHA,
            iterations=run.iterations,
            passes=run.budget.passes,
            seconds=seconds,
            solver_seconds=seconds - run.modelling.seconds,
        )


def _checked(seeds: Sequence[int] | None, rows: int) -> Sequence[int]:
    seeds = [0] * rows if seeds is None else seeds
    whole = all(isinstance(seed, Integral) and seed >= 0 for seed in seeds)
    if len(seeds) != rows or not whole:
        raise ValueError(
            f"the seeds {list(seeds)} were given for {rows} rows; give one whole number each, 0 or "
            "more"
        )
    return seeds
