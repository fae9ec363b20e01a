"""Actions inferred for the episodes of a data set, beside the true ones where these are known."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.episode import Dataset
from ..storage.whole_file import write_whole
from ..world_model.world_model import WorldModel
from .episodes import require_fit


@dataclass(frozen=True)
class Inferred:
    """Actions (steps - 1, A) of each episode, by its id, in the environment's units."""

    actions: Mapping[str, NDArray[np.float32]]
    true: NDArray[np.float32] | None  # (n, A) of all of them, one after another
    names: Sequence[str]
    units: Sequence[str]

    def save(self, path: Path) -> None:
        """Write an array an episode (.npz)."""
        content, arrays = io.BytesIO(), dict[str, Any](self.actions)
        np.savez(content, **arrays)
        write_whole(path, content.getvalue())

    def __str__(self) -> str:
        """Mean absolute error of each entry, beside that of always naming the mean action."""
        found = np.concatenate([*self.actions.values()])
        if self.true is None:
            count = f"{len(found)} actions of {len(self.actions)} episodes"
            return f"{count}; how good they are is not known"
        ours = abs(found - self.true).mean(axis=0)
        mean = abs(self.true - self.true.mean(axis=0)).mean(axis=0)
        rows = [f"{'entry':12} {'inferred':>10} {'mean action':>12}  of {len(found)} steps"]
        for name, unit, error, base in zip(self.names, self.units, ours, mean, strict=True):
            rows.append(f"{name:12} {error:10.4f} {base:12.4f}  {unit}")
        return "\n".join(rows)


def infer(
    world_model: WorldModel,
    source: Dataset,
    episodes: int = 20,
    steps: int = 4,
    name: str = "the world model",
) -> Inferred:
    """Infer the actions of the first episodes; those of one frame are left out, in a line.

    Args:
        steps: passes of the network an action.
        name: of the world model, in messages.

    Raises:
        ValueError: data of another robot, or no episode of two frames.
    """
    require_fit(source, world_model, name)
    known = world_model.state_spec is not None and source.state_spec is not None
    inferred: dict[str, NDArray[np.float32]] = {}
    true: list[NDArray[np.float32]] = []
    for index in tqdm(range(min(episodes, len(source))), "infer", unit="episode"):
        episode = source[index]
        count = (len(episode) - 1) // world_model.action_block * world_model.action_block
        if not count:
            tqdm.write(f"left out {episode.id}: {len(episode)} frames, between which is no action")
            continue
        states = episode.states
        made = world_model.infer_actions(
            episode.images[None, : count + 1],
            states=states[None, : count + 1] if known and states is not None else None,
            steps=steps,
        )
        inferred[episode.id] = made[0].cpu().numpy()
        if episode.actions is not None:
            true.append(episode.actions[:count])
    if not inferred:
        raise ValueError(f"{source.name} has no episode of two frames; there is nothing to infer")
    spec = world_model.step_spec
    return Inferred(inferred, np.concatenate(true) if true else None, spec.names, spec.units)
