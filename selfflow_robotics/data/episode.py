"""One episode, whatever it was read from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.action_spec import ActionSpec, StateSpec


@dataclass(frozen=True)
class Episode:
    """S steps of one episode.

    Raises:
        ValueError: no step, shapes that disagree, or actions or states that are not finite.

    Example:
        >>> pictures = np.zeros((5, 64, 80, 3), np.uint8)
        >>> len(Episode(pictures, None, None, (), success=None, source="video", id="train/0"))
        5
    """

    images: NDArray[np.uint8]  # (S, height, width, 3)
    actions: NDArray[np.float32] | None  # (S, A); row i is taken after seeing image i
    states: NDArray[np.float32] | None  # (S, P) proprioception
    instructions: tuple[str, ...]  # S, one a step; () when unknown
    success: bool | None
    source: str  # "expert" | "perturbed" | "random" | "video" | ...
    id: str  # stable, as "train/17"
    # (S,), which actions show how the task is done; None: all, if the episode succeeds.
    demonstrated: NDArray[np.bool_] | None = None
    # (S,) steps an expert still needs until a frame's instruction is carried out, its own action
    # among them: 0 at the last frame of a solved episode, infinite where it would never finish, NaN
    # where nobody knows.
    steps_left: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        shape, dtype = self.images.shape, self.images.dtype
        if len(shape) != 4 or shape[-1] != 3 or dtype != np.uint8:
            raise ValueError(
                f"episode {self.id} has images of shape {shape} and type {dtype}; "
                "give (steps, height, width, 3) of type uint8"
            )
        steps = shape[0]
        if steps == 0:
            raise ValueError(f"episode {self.id} has no steps; leave it out of the data set")
        for key, rows in (("actions", self.actions), ("states", self.states)):
            if rows is None:
                continue
            if rows.ndim != 2 or len(rows) != steps:
                raise ValueError(
                    f"episode {self.id} has {steps} frames but {key} of shape {rows.shape}; "
                    "give one row a frame"
                )
            bad = ~np.isfinite(rows).all(axis=1)
            if bad.any():
                raise ValueError(
                    f"episode {self.id} has {key} that are not finite at step {bad.argmax()}; "
                    "mend or leave out the episode"
                )
        if self.demonstrated is not None and self.demonstrated.shape != (steps,):
            raise ValueError(
                f"episode {self.id} has {steps} frames but demonstrated of shape "
                f"{self.demonstrated.shape}; give one a frame, or none"
            )
        if self.steps_left is not None:
            require_steps_left(self.steps_left, steps, f"episode {self.id}")
        if len(self.instructions) not in (0, steps):
            raise ValueError(
                f"episode {self.id} has {steps} frames but {len(self.instructions)} instructions; "
                "give one a frame, or none"
            )

    def __len__(self) -> int:
        """S, the number of steps."""
        return len(self.images)


def require_steps_left(left: NDArray[np.float32], steps: int, where: str) -> None:
    """Refuse steps left that are not one a frame, each 0 or more or NaN.

    Raises:
        ValueError: names the episode, and the first such frame.
    """
    if left.shape != (steps,):
        raise ValueError(
            f"{where} has {steps} frames but steps_left of shape {left.shape}; give one a frame, "
            "or none"
        )
    if (left < 0).any():
        step = int(np.flatnonzero(left < 0)[0])
        raise ValueError(
            f"{where} has steps_left {left[step]:g} at step {step}; give 0 or more, inf where "
            "an expert never finishes, NaN where it is not known"
        )


def require_finite(rows: NDArray[np.floating[Any]], key: str, where: str) -> None:
    """Refuse numbers (S, entries) of an episode that are not finite.

    Raises:
        ValueError: names the episode, the key and the first such step.
    """
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        step = int(bad.argmax())
        raise ValueError(
            f"{where} has {key} = {rows[step].tolist()} at step {step}; "
            "leave the episode out or write it again with finite numbers"
        )


class Episodes(Protocol):
    """Episodes in random access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Episode:
        """Episode number index, 0 <= index < len.

        Raises:
            IndexError: no such episode.
            ValueError: the stored episode is faulty; the message names it.
        """
        ...


class Encodable(Episodes, Protocol):
    """Episodes, and what tells them from others."""

    @property
    def name(self) -> str:
        """What the episodes are called in messages."""
        ...

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) of all images; None where they differ."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the episodes are, as JSON with names: sources that say the same hold the same.

        It is found without reading everything; whether latents of before are still those of the
        data set is decided by it.
        """
        ...


class EpisodeSource(Encodable, Protocol):
    """Episodes, and the meaning of their numbers; None for material that has none."""

    @property
    def action_spec(self) -> ActionSpec | None: ...

    @property
    def state_spec(self) -> StateSpec | None: ...


class Dataset(EpisodeSource, Protocol):
    """A split of a data set, whose episodes have the ids "<split>/<number>"."""

    @property
    def split(self) -> str: ...
