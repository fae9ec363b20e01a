"""The cross-entropy method over actions that are held, with the gripper as a choice.

A task asks for ways of half a metre and a gripper that closes once. White noise around a mean gives
neither: its steps cancel out, and the gripper's command is seldom the same for long.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from selfflow_robotics.planning.run import Run
from selfflow_robotics.planning.solvers.cem import CEM
from selfflow_robotics.planning.start import shifted_elites
from selfflow_robotics.streams import normal

_SCALES = (1.0, 0.5, 0.25)  # of the noise, in turn: ways across the table, and the last centimetre
_WIDE = 0.5  # of the first candidates are around rest, wherever the search starts
_FRESH = 0.5  # of the gripper's choices are drawn anew, the others are an elite's


@dataclass(eq=False)
class BlockCEM(CEM):
    """:class:`CEM` whose noise stays for several steps; see :class:`Search`.

    Noise comes in three sizes in every iteration: what a cost errs by ends no search before it is
    fine. A relative gripper (:attr:`ActionSpec.relative_grippers`) has none: from a step on it
    opens, keeps or closes, and before it keeps. From the second iteration on half of the candidates
    take over the commands of an elite, so that what the elites do often is drawn often.

    Elites stay from iteration to iteration and, shifted, from plan to plan. The start is the last
    plan and then rest, else the first proposal, else rest. The plan is the best candidate, not the
    mean: where the cost's errors do not average out, the mean lies where none of the candidates
    was.

    Args:
        hold: steps that an action is held, 1 or more.

    Example:
        >>> solver = BlockCEM(world_model, Progress(world_model), candidates=8, horizon=3, hold=2)
        >>> solver.plan(context).actions_BHA.shape
        torch.Size([1, 3, 7])
    """

    candidates: int = 64
    iterations: int = 3
    horizon: int = 8
    topk: int = 6
    initial_std: float = 0.7
    min_std: float = 0.1
    hold: int = 4

    trusts_mean = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.hold, Integral) and self.hold >= 1):
            raise ValueError(f"BlockCEM got hold={self.hold!r}; give a whole number of steps")
        self.grippers: list[int] = list(self.world_model.action_spec.relative_grippers)

    @property
    def keeps(self) -> int:
        """See :attr:`Search.keeps`."""
        return self.topk

    def first_mean(self, run: Run, proposals_BKHA: Tensor) -> Tensor:
        """See :meth:`Search.first_mean`; after the last plan comes rest."""
        mean_BHA = super().first_mean(run, proposals_BKHA[:, :0])
        if not proposals_BKHA.shape[1]:
            return mean_BHA
        afresh_B = torch.tensor([plan is None for plan in run.previous])
        return torch.where(afresh_B[:, None, None], proposals_BKHA[:, 0], mean_BHA)

    def sample(self, run: Run) -> Tensor:
        """See :meth:`Search.sample`."""
        blocks = math.ceil(self.horizon / self.hold)
        noise_BKNA = normal(run.sampling, self.candidates, blocks, run.mean_BHA.shape[-1])
        scale_K11 = torch.tensor(_SCALES)[torch.arange(self.candidates) % len(_SCALES), None, None]
        noise_BKHA = (scale_K11 * noise_BKNA).repeat_interleave(self.hold, dim=2)
        sampled_BKHA = self.around_mean(run, noise_BKHA[:, :, : self.horizon])
        if run.iteration == 1:
            wide = int(_WIDE * self.candidates)
            moved_BKHA = sampled_BKHA[:, self.candidates - wide :]
            moved_BKHA += self.bounds.rest - run.mean_BHA[:, None]
        if self.grippers:
            sampled_BKHA[..., self.grippers] = self._commands(run)
        return sampled_BKHA

    def _commands(self, run: Run) -> Tensor:
        """The gripper's of every candidate, (B, K, H, G): of the start or an elite, or new."""
        known_BKHA = run.mean_BHA[:, None] if run.memory is None else run.memory
        chance_BK4 = torch.stack(
            [torch.rand(self.candidates, 4, generator=stream) for stream in run.sampling]
        )
        fresh_BK, which_BK, command_BK, first_BK = chance_BK4.unbind(dim=-1)
        moments = torch.arange(self.horizon * len(self.grippers))
        begun_BKM = moments >= (first_BK * len(moments)).floor()[..., None]
        begun_BKHG = begun_BKM.reshape(*begun_BKM.shape[:2], self.horizon, -1)
        ends = (self.bounds.low_A, self.bounds.rest, self.bounds.high_A)
        ends_3G = torch.stack(ends)[:, self.grippers]
        new_BKG = ends_3G[(command_BK * len(ends)).long()]
        new_BKHG = torch.where(begun_BKHG, new_BKG[:, :, None], ends_3G[1])
        rows_B1 = torch.arange(len(known_BKHA))[:, None]
        chosen_BK = (which_BK * known_BKHA.shape[1]).long()
        known_BKHG = known_BKHA[rows_B1, chosen_BK][..., self.grippers]
        return torch.where((fresh_BK < _FRESH)[..., None, None], new_BKHG, known_BKHG)

    def compose(self, run: Run, sampled_BKHA: Tensor, proposals_BKHA: Tensor) -> Tensor:
        """See :meth:`Search.compose`; the last plan's elites follow the proposals."""
        first_BKHA = super().compose(run, sampled_BKHA, proposals_BKHA)
        behind = 1 + proposals_BKHA.shape[1]
        places = slice(behind, behind + self.topk)
        first_BKHA[:, places] = shifted_elites(run.previous, run.executed, first_BKHA[:, places])
        return first_BKHA

    def update(self, run: Run, elites_BKHA: Tensor, cost_BK: Tensor) -> None:
        """See :meth:`Search.update`."""
        super().update(run, elites_BKHA, cost_BK)
        run.memory = elites_BKHA
        run.mean_BHA[..., self.grippers] = elites_BKHA[..., self.grippers].median(dim=1).values
