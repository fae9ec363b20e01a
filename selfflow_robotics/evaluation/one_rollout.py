"""One episode imagined with its true actions and with others, beside what happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.action_spec import RT1_ACTIONS
from ..data.episode import Dataset, Episode
from ..envs.names import own_task
from ..world_model.world_model import WorldModel
from .episodes import one_and_others, played_by_expert, require_actions, require_fit
from .video.other_actions import OTHER_ACTIONS
from .video.psnr import Imagination, imagination, imagine_episode
from .video.writing import side_by_side, write_video


@dataclass(frozen=True, eq=False)
class OneRollout:
    """An episode, what was imagined of it, and how well."""

    episode: Episode
    columns: list[tuple[str, NDArray[np.uint8]]]  # label and (S - 1, height, width, 3)
    quality: Imagination  # of this episode and others
    rate_hz: float

    def save(self, path: Path) -> Path:
        """Write all columns side by side at twice real speed, as :func:`write_video` does."""
        return write_video(path, side_by_side(self.columns), fps=2 * self.rate_hz)


def imagine_one(
    world_model: WorldModel,
    source: Dataset | None = None,
    number: int | None = None,
    *,
    task: str = "PickCokeCan",
    seed: int = 30_000,
    horizon: int = 4,
    other: str = "shuffled",
    name: str = "the world model",
) -> OneRollout:
    """Imagine an episode of a data set, or a fresh one that the expert of a task plays.

    Args:
        number: of the episode in `source`; the first held-out one when None.
        task: of this project, to play when there is no `source`.
        seed: of the fresh episode.
        horizon: frames imagined before the truth is shown again.
        other: which other actions, of :data:`OTHER_ACTIONS`.
        name: of the world model, in messages.

    Raises:
        ValueError: no such episode or task, one too short, or without actions, or actions that
            mean something else than the world model's.
    """
    if source is not None:
        require_fit(require_actions(source), world_model, name)
        episodes = one_and_others(source, number, horizon, world_model.image_fit)
    else:
        world_model.step_spec.require_match(RT1_ACTIONS, name, task)
        episodes = played_by_expert(own_task(task), seed, world_model.camera_size)
    shown, *others = episodes
    actions = OTHER_ACTIONS[other](shown, others, world_model.step_spec)
    quality = imagination(world_model, episodes, horizon)
    columns = [("happened", world_model.image_fit(shown.images[1:]))]
    for label, given in (("true", None), (other, actions)):
        frames = imagine_episode(world_model, shown, horizon, given)
        columns.append((f"imagined: {label} actions", frames))
    return OneRollout(shown, columns, quality, world_model.step_spec.rate_hz)
