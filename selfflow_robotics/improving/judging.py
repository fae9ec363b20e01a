"""How well a planner does on starts of its own, and how well its critic counts there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfflow_robotics.collecting.assignments import SHARES, assign
from selfflow_robotics.collecting.collect import collect
from selfflow_robotics.collecting.workers import Playing
from selfflow_robotics.data.clips import NEVER
from selfflow_robotics.data.fitted import fitted
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.cache import latents_of
from selfflow_robotics.envs.names import short_name
from selfflow_robotics.training.critic import critic_errors
from selfflow_robotics.training.step_targets import known_steps
from selfflow_robotics.world_model.world_model import WorldModel

ALONE = {**dict.fromkeys(SHARES, 0.0), "alone": 1.0}


@dataclass(frozen=True)
class Judged:
    """A planner in one task: its episodes, and the critic in every state that it came to."""

    episodes: int
    successes: int
    frames: int = 0  # from which an expert gets to the end
    lost: int = 0  # from which it does not
    median: float | None = None  # error of the critic's steps
    rank: float | None = None  # correlation of its steps with an expert's
    doubt: float | None = None  # correlation of its doubt with its error

    def __str__(self) -> str:
        median, rank = ("-" if x is None else f"{x:.2f}" for x in (self.median, self.rank))
        return f"{self.successes}/{self.episodes} {median} {rank}"


def judge(
    world_model: WorldModel,
    tasks: tuple[str, ...],
    episodes: int,
    playing: Playing,
    folder: Path,
    workers: int | None,
) -> dict[str, Judged]:
    """Let the planner play every task to the end, and an expert say how far each frame is from it.

    Args:
        world_model: that of `playing`, with a critic.
        tasks, episodes: see :func:`assign`.
        playing: with labels; its seed should be one that nothing is trained on.
        folder: where the episodes are recorded; what lies there already is not played again.

    Returns:
        What was measured, by the task's short name.
    """
    assert world_model.critic is not None
    if not folder.exists():
        collect(
            folder,
            tasks,
            episodes,
            None,
            container="array_record",
            playing=playing,
            workers=workers,
            **ALONE,
        )
    specs = world_model.action_spec, world_model.state_spec
    source = fitted(open_dataset(folder), world_model.image_fit)
    seen = latents_of(source, world_model.tokenizer, None, *specs)
    seen = seen.with_words(world_model.config.vocabulary)
    played = [short_name(a.task) for a in assign(tasks, episodes, None, seed=playing.seed, **ALONE)]
    names, solved = np.array(played), seen.steps_to_success[seen.offsets[:-1]] < NEVER
    of_frames = names.repeat(seen.lengths)
    truth = known_steps(seen)
    errors = critic_errors(world_model.critic, seen, apart=of_frames)
    found = {}
    for task in dict.fromkeys(played):
        lost = int(((of_frames == task) & (truth >= world_model.critic.config.most)).sum())
        measured = {k: _told(v) for k, v in asdict(errors[task]).items()} if task in errors else {}
        rows = names == task
        found[task] = Judged(int(rows.sum()), int(solved[rows].sum()), lost=lost, **measured)
    return found


def _told(value: Any) -> Any:
    """A number as JSON has it: where all frames are alike there is no correlation."""
    return value if np.isfinite(value) else None


def from_json(stored: Mapping[str, Any]) -> dict[str, Judged]:
    """What was written of a round."""
    return {task: Judged(**measured) for task, measured in stored.items()}
