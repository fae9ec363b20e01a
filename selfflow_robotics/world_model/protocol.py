"""What a world model offers to planners, to policies and evaluation, and to objectives.

:class:`~selfflow_robotics.WorldModel` offers all of it. MuJoCo itself or someone else's model can
stand in with the part that is used. Contexts and rollouts are opaque: the world model makes them,
the objective reads them, others only carry them from one to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.action_spec import ActionSpec, StateSpec
from ..images.fit import ImageFit
from ..tokenizers.tokenizer import Tokenizer

RowGenerators: TypeAlias = Sequence[torch.Generator]
"""One CPU random stream a row, so that what a row draws does not depend on the other rows."""


class Dynamics(Protocol):
    """What a planner needs."""

    @property
    def action_spec(self) -> ActionSpec:
        """Meaning, bounds and statistics of the actions that ``rollout`` takes."""
        ...

    def observe(
        self,
        frames: NDArray[np.uint8],
        past_actions: NDArray[np.float32],
        instruction: str | Sequence[str] | None = None,
        states: NDArray[np.float32] | None = None,
    ) -> Any:
        """Encode the history of B environments.

        Args:
            frames: (B, S, height, width, 3), oldest first.
            past_actions: (B, S-1, A), environment units; entry i was taken after frame i.
            instruction: one for all, one each, or none.
            states: (B, S, P) proprioception, or none.

        Returns:
            A context, whose ``batch`` is B.
        """
        ...

    def rollout(
        self, context: Any, actions_BKHA: Tensor, /, *, generator: RowGenerators | None = None
    ) -> Any:
        """Imagine the K futures that K action sequences lead to, for each of B environments.

        Args:
            context: from ``observe``.
            actions_BKHA: environment units, float32 on CPU.
            generator: the random stream of each row, whose candidates best share what is drawn
                from it; a deterministic model ignores it.

        Returns:
            Whatever the objective reads. Where it has an integer attribute ``passes``, the plan
            adds these up.
        """
        ...


class Observes(Dynamics, Protocol):
    """It reads camera images, and shows what it imagines.

    Policies need the first three of these, evaluation all.
    """

    @property
    def history_len(self) -> int:
        """Frames it looks at, at most; 1 or more."""
        ...

    @property
    def step_spec(self) -> ActionSpec:
        """What the action of one step means; `action_spec` is of one step, or a block of them."""
        ...

    @property
    def image_fit(self) -> ImageFit:
        """How images become those that it reads."""
        ...

    @property
    def action_block(self) -> int:
        """Steps that an action of ``rollout`` spans."""
        ...

    @property
    def state_spec(self) -> StateSpec | None:
        """Meaning of the proprioception it reads; None where it reads none."""
        ...

    def decode(self, rollout: Any, /) -> NDArray[np.uint8]:
        """Imagined frames (B, K, H, height, width, 3)."""
        ...


class Heads(Observes, Protocol):
    """What objectives read off imagined frames, and what acts without planning."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Makes latents of images."""
        ...

    def encode_goal(
        self, images: NDArray[np.uint8], states: NDArray[np.float32] | None = None, /
    ) -> Tensor:
        """Features (B, M, D) of images (B, height, width, 3), with proprioception (B, P)."""
        ...

    def progress(self, context: Any, rollout: Any, /) -> Tensor:
        """(B, K, H) in 0..1: a discount to the power of the steps left to success."""
        ...

    def steps_to_goal(self, rollout: Any, goal_features: Tensor, /) -> Tensor:
        """(B, K, H) environment steps."""
        ...

    def goal_frame(
        self, images: NDArray[np.uint8], states: NDArray[np.float32] | None = None, /
    ) -> Any:
        """Images (B, height, width, 3), with proprioception (B, P), as `steps_left` takes them."""
        ...

    def steps_left(self, context: Any, rollout: Any, goal: Any = None, /) -> Tensor:
        """(B, K, H, heads) environment steps to the instruction, or to a goal of `goal_frame`."""
        ...

    def guess(self, context: Any, candidates: int, horizon: int, /) -> Tensor:
        """The policy prior's actions (B, candidates, horizon, A), environment units."""
        ...

    def propose(
        self, context: Any, candidates: int, horizon: int, /, *, generator: RowGenerators | None
    ) -> Tensor:
        """Actions that the network denoises, (B, candidates, horizon, A), environment units."""
        ...
