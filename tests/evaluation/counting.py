"""A tiny task whose whole course is known in advance, and policies to run in it."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from selfflow_robotics.envs.mapping import Observations

TASK = "selfflow-tests/Counting-v0"
LIMIT = 12


class Counting(gymnasium.Env[dict[str, Any], NDArray[np.float32]]):
    """A point on a line; it starts at seed % 10 and succeeds at 10. Pixels are the position."""

    def __init__(self, image_size: tuple[int, int] = (8, 10), solved: bool = False) -> None:
        self.image_size, self.solved = image_size, solved
        self.observation_space = gymnasium.spaces.Dict(
            {
                "image": gymnasium.spaces.Box(0, 255, (*image_size, 3), np.uint8),
                "instruction": gymnasium.spaces.Text(64, charset=string.printable),
                "proprioception": gymnasium.spaces.Box(-100, 100, (1,), np.float32),
            }
        )
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.stepped = 0  # over all episodes
        self.started: list[int | None] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.started.append(seed)
        self.seed = seed
        self.at = float((seed or 0) % 10)
        return self._see(), {"success": self.solved and seed == 5}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.stepped += 1
        self.at += float(action[0])
        success = self.at >= 10
        subtask = int(self.at >= 5)
        return self._see(), float(success), success, False, {"success": success, "subtask": subtask}

    def _see(self) -> dict[str, Any]:
        level = int(np.clip(self.at * 20, 0, 255))
        return {
            "image": np.full((*self.image_size, 3), level, np.uint8),
            "instruction": f"reach ten from {self.seed}",
            "proprioception": np.array([self.at], np.float32),
        }


gymnasium.register(TASK, entry_point=Counting, max_episode_steps=LIMIT)


class Forward:
    """Goes right by one each step."""

    name = "forward"

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """Nothing to forget."""

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """One step to the right."""
        return np.tile(np.array([1, 0], np.float32), (len(rows), 1))


class Drunk:
    """Steps at random, from a stream that belongs to the episode."""

    name = "drunk"

    def __init__(self) -> None:
        self.streams: dict[int, np.random.Generator] = {}
        self.resets: list[tuple[int, int]] = []
        self.acted: list[int] = []

    def reset(self, rows: Sequence[int], seeds: Sequence[int]) -> None:
        """A stream of its own for each."""
        for row, seed in zip(rows, seeds, strict=True):
            self.streams[row] = np.random.default_rng(seed)
            self.resets.append((row, seed))

    def act(self, observations: Observations, rows: Sequence[int]) -> NDArray[np.float32]:
        """Anywhere from half a step back to a step and a half on."""
        self.acted.append(len(rows))
        assert len(observations.image) == len(observations.instruction) == len(rows)
        return np.stack([self.streams[row].uniform(-0.2, 1, 2) for row in rows]).astype(np.float32)
