"""Deciding a few steps ahead, carrying out the first ones, and deciding again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations
from torch import Tensor

from selfflow_robotics.data.action_spec import ActionSpec
from selfflow_robotics.streams import RowStreams, derive_seed
from selfflow_robotics.world_model.protocol import Observes

from .history import History, Window


@dataclass(frozen=True)
class Decision:
    """What one environment decided, and from what."""

    step: int  # of the episode, the first is 0
    window: Window  # of one row
    actions_HA: NDArray[np.float32]  # environment units
    seed: int
    seconds: float  # until the decision was there, for all rows that decided together


class RecedingHorizon(ABC):
    """A policy that decides for the rows without an action left and hands out the actions of each.

    Rows are reset one by one, so they may decide at different steps; those with equally long
    histories are encoded and decided together.

    Args:
        world_model: encodes the history.
        receding_horizon: actions of the model carried out of each decision, 1 to the decision's
            length.
        gripper_threshold: snaps the gripper's entry, see :func:`snap_gripper`; None leaves it.
    """

    name: str

    def __init__(
        self,
        world_model: Observes,
        receding_horizon: int,
        gripper_threshold: float | None = None,
    ) -> None:
        if receding_horizon < 1:
            raise ValueError(f"receding_horizon is {receding_horizon}; it must be 1 or more")
        spec = world_model.step_spec
        self.action_block = world_model.action_spec.size // spec.size
        if gripper_threshold is not None and "gripper" not in spec.names:
            raise ValueError(
                f"gripper_threshold is set, but no action entry is named gripper: {spec.names}"
            )
        if gripper_threshold is not None and not 0 <= gripper_threshold <= 1:
            raise ValueError(f"gripper_threshold is {gripper_threshold}; it must lie in 0..1")
        self.world_model, self.receding_horizon = world_model, receding_horizon
        self.gripper_threshold = gripper_threshold
        self.history = History(world_model.history_len, world_model.image_fit, spec.size)
        self._decisions: defaultdict[int, list[Decision]] = defaultdict(list)
        self._seeds: dict[int, int] = {}
        self._steps: dict[int, int] = {}

    @abstractmethod
    def decide(self, context: Any, rows: Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Actions (B, H, A), environment units, for rows whose history is in the context.

        Where the model's actions are blocks of steps, so are these.
        """

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """See :meth:`Policy.reset`."""
        self.history.reset(rows)
        for row, seed in zip(rows, seeds, strict=True):
            self._decisions[row] = []
            self._seeds[row], self._steps[row] = seed, 0

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """See :meth:`Policy.act`."""
        self.history.see(observations, rows)
        due = [row for row in rows if self._due(row)]
        for group in self.history.same_length(due):
            self._decide_together(group)
        actions = np.stack([self._next(row) for row in rows])
        self.history.act(actions, rows)
        return actions

    def decisions(self, row: int) -> tuple[Decision, ...]:
        """What the row decided in its present episode, with the seconds each decision took."""
        return tuple(self._decisions[row])

    def imagine(self, row: int) -> Any:
        """The world model's rollout, of one row and one candidate, of what the row decided last.

        Raises:
            ValueError: the row has not decided anything in this episode.
        """
        if not self._decisions[row]:
            raise ValueError(f"row {row} has not decided anything yet; let it act first")
        decision = self._decisions[row][-1]
        size = self.world_model.action_spec.size
        actions_BKHA = torch.from_numpy(decision.actions_HA).reshape(1, 1, -1, size)
        return self.world_model.rollout(
            self._observe(decision.window),
            actions_BKHA,
            generator=RowStreams(0, [decision.seed], 0),
        )

    def _due(self, row: int) -> bool:
        decisions = self._decisions[row]
        carried_out = self.receding_horizon * self.action_block
        return not decisions or self._steps[row] - decisions[-1].step >= carried_out

    def _decide_together(self, rows: Sequence[int]) -> None:
        started = time.perf_counter()
        seeds = [derive_seed(self._seeds[row], self._steps[row]) for row in rows]
        context = self._observe(self.history.window(rows))
        decided = self.decide(context, rows, seeds).float().cpu().numpy()
        if decided.shape[1] < self.receding_horizon:
            raise ValueError(
                f"receding_horizon is {self.receding_horizon}, but plans are "
                f"{decided.shape[1]} steps long; lower it or raise the horizon"
            )
        spec = self.world_model.step_spec
        actions_BHA = decided.reshape(len(rows), -1, spec.size)
        if self.gripper_threshold is not None:
            actions_BHA = snap_gripper(actions_BHA, spec, self.gripper_threshold)
        seconds = time.perf_counter() - started
        for row, seed, actions_HA in zip(rows, seeds, actions_BHA, strict=True):
            self._decisions[row].append(
                Decision(self._steps[row], self.history.window([row]), actions_HA, seed, seconds)
            )

    def _next(self, row: int) -> NDArray[np.float32]:
        decision = self._decisions[row][-1]
        action: NDArray[np.float32] = decision.actions_HA[self._steps[row] - decision.step]
        self._steps[row] += 1
        return action

    def _observe(self, window: Window) -> Any:
        return self.world_model.observe(
            window.frames, window.past_actions, window.instruction, window.states
        )


def snap_gripper(
    actions: NDArray[np.float32], spec: ActionSpec, threshold: float
) -> NDArray[np.float32]:
    """Relative gripper commands below the threshold keep (0), others open or close fully.

    A mean over sampled plans is seldom exactly -1, 0 or 1, although every demonstration is.

    Args:
        actions: (..., A), environment units, with an entry named "gripper" in -1..1.
        spec: what the entries are.
        threshold: in 0..1.

    Returns:
        A changed copy.
    """
    snapped = actions.copy()
    gripper = snapped[..., spec.names.index("gripper")]
    gripper[...] = np.where(np.abs(gripper) < threshold, 0.0, np.sign(gripper))
    return snapped
