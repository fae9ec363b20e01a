"""What each environment has shown and been told to do, as far back as a world model looks."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations

from selfflow_robotics.images.eight_bit import eight_bit
from selfflow_robotics.images.fit import ImageFit


@dataclass(frozen=True)
class Window:
    """The same number S of past frames of B environments: the arguments of ``observe``."""

    frames: NDArray[np.uint8]  # (B, S, height, width, 3), oldest first
    past_actions: NDArray[np.float32]  # (B, S-1, A), environment units
    instruction: tuple[str, ...] | None  # B texts, None when all are empty
    states: NDArray[np.float32] | None  # (B, S, P)


class _Row:
    def __init__(self, length: int) -> None:
        self.frames: deque[NDArray[np.uint8]] = deque(maxlen=length)
        self.states: deque[NDArray[np.float32]] = deque(maxlen=length)
        self.actions: deque[NDArray[np.float32]] = deque(maxlen=length - 1)
        self.instruction = ""


class History:
    """Frames, actions and states of every environment since its episode began.

    Args:
        length: frames kept, 1 or more.
        fit: how frames are made the size that the model reads.
        action_size: A.
    """

    def __init__(self, length: int, fit: ImageFit, action_size: int) -> None:
        self.length, self.fit, self.action_size = length, fit, action_size
        self._rows: dict[int, _Row] = {}

    def reset(self, rows: Sequence[int]) -> None:
        """Forget these rows."""
        for row in rows:
            self._rows[row] = _Row(self.length)

    def see(self, observations: Observations, rows: Sequence[int]) -> None:
        """Add what these rows show now.

        Raises:
            ValueError: a row never reset, or as many observations as rows do not exist.
        """
        lost = [row for row in rows if row not in self._rows]
        if lost:
            raise ValueError(f"the rows {lost} act before their episode began; reset them first")
        if not len(observations.image) == len(observations.instruction) == len(rows):
            raise ValueError(
                f"{len(observations.image)} images and {len(observations.instruction)} "
                f"instructions were given for {len(rows)} rows; give one each"
            )
        images = self.fit(eight_bit(observations.image, "what is seen"))
        for i, row in enumerate(rows):
            # Copies: a vector environment may write its next observation into the same memory.
            self._rows[row].frames.append(images[i].copy())
            self._rows[row].instruction = observations.instruction[i]
            if observations.proprioception is not None:
                self._rows[row].states.append(observations.proprioception[i].copy())

    def act(self, actions: NDArray[np.float32], rows: Sequence[int]) -> None:
        """Add what these rows do now, (len(rows), A)."""
        for action, row in zip(actions, rows, strict=True):
            self._rows[row].actions.append(action)

    def same_length(self, rows: Sequence[int]) -> list[list[int]]:
        """The rows in groups that have seen equally many frames, to be encoded together."""
        groups = defaultdict(list)
        for row in rows:
            groups[len(self._rows[row].frames)].append(row)
        return list(groups.values())

    def window(self, rows: Sequence[int]) -> Window:
        """What these rows, equal in length, have seen and done up to now."""
        chosen = [self._rows[row] for row in rows]
        frames = np.stack([np.stack(row.frames) for row in chosen])
        past = [np.asarray(row.actions, np.float32) for row in chosen]
        instruction = tuple(row.instruction for row in chosen)
        return Window(
            frames,
            np.stack(past).reshape(len(chosen), frames.shape[1] - 1, self.action_size),
            instruction if any(instruction) else None,
            np.stack([np.stack(row.states) for row in chosen]) if chosen[0].states else None,
        )
