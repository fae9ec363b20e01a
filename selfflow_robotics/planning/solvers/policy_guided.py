"""Planning with what the policy use of a world model thinks likely.

Candidates are drawn by the joint video-action use of a network and judged by its world-model use;
the best of them are noised again, part of the way, and denoised anew: variations that stay among
the actions seen in training, where the world model can be believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from selfflow_robotics.planning.elites import check_topk
from selfflow_robotics.planning.protocol import Refine
from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.search import Search


@dataclass(eq=False)
class PolicyGuided(Search):
    """Draw by ``propose``, judge, then redraw the elites by ``refine``; see :class:`Search`.

    All candidates but the start are proposals. The plan is the best candidate of all.

    Args:
        propose: required, such as ``world_model.propose``.
        refine: makes variations of given actions, such as ``world_model.refine``; required for more
            than one iteration.
        topk: elites that the candidates of the next iteration are made from, in turn.
        time: how far elites are noised, 0 (stay as they are) to 1 (forgotten).

    Example:
        >>> draw, vary = world_model.propose, world_model.refine
        >>> solver = PolicyGuided(world_model, Progress(world_model), propose=draw, refine=vary)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 4, 7])
    """

    candidates: int = 16
    iterations: int = 2
    topk: int = 4
    refine: Refine | None = None
    time: float = 0.5

    def __post_init__(self) -> None:
        if self.proposals is None and self.propose is not None:
            self.proposals = max(1, self.candidates - 1)
        super().__post_init__()
        check_topk(self.topk, self.candidates, "PolicyGuided")
        if not 0 < self.time <= 1:
            raise ValueError(f"PolicyGuided got time={self.time}; it must lie above 0, up to 1")
        if self.propose is None:
            raise ValueError(
                "PolicyGuided got nothing that draws candidates; pass propose=world_model.propose"
            )
        if self.refine is None and self.iterations > 1:
            raise ValueError(
                f"PolicyGuided got iterations={self.iterations} but nothing that varies the elites "
                "of the first; pass refine=world_model.refine, or iterations=1"
            )

    @property
    def learns_from(self) -> int:
        return self.topk

    def sample(self, run: Run) -> Tensor:
        if run.iteration == 1 or self.refine is None:
            return run.mean_BHA[:, None]
        elites_BKHA: Tensor = run.memory
        turns = torch.arange(self.candidates) % elites_BKHA.shape[1]
        given_BKHA = self.bounds.to_environment(elites_BKHA[:, turns])

        def refined(done: int, count: int) -> Tensor:
            part_BKHA = given_BKHA[:, done : done + count]
            assert self.refine is not None
            return self.refine(run.context, part_BKHA, self.time, generator=run.proposing)

        return self.draw(run, refined, self.candidates, "refine")

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        run.memory = elites_BKHA
        run.mean_BHA, run.std_BHA = elites_BKHA[:, 0], elites_BKHA.std(dim=1, correction=0)
