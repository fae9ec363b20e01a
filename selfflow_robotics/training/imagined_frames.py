"""Episodes as a world model imagines them, frame by frame, from frames a few steps before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ..data.clips import LatentEpisodes
from ..data.latents.joined_rows import JoinedRows
from ..world_model.world_model import WorldModel

AHEAD = 8
"""Steps that frames lie from what was seen, at most; as far as plans look."""

_ROWS = 64  # histories imagined from at once


@dataclass(frozen=True)
class Imagined:
    """Episodes with every frame imagined once, and from which one (S,); the first of each is true.

    A first frame is its own.
    """

    episodes: LatentEpisodes
    seen_from: NDArray[np.int64]


@torch.no_grad()
def imagined_frames(
    world_model: WorldModel, episodes: LatentEpisodes, ahead: int = AHEAD
) -> Imagined:
    """The same episodes as a world model imagines them.

    From every `ahead`-th frame its true actions are rolled out, so that frames lie 1 to `ahead`
    steps from what was seen, each as often.

    Args:
        episodes: with actions, encoded by the world model's tokenizer.
    """
    latents = np.array(episodes.latents)
    states = None if episodes.states is None else episodes.states.copy()
    starts = [
        np.arange(first, last - 1, ahead)
        for first, last in zip(episodes.offsets[:-1], episodes.offsets[1:], strict=True)
    ]
    seen_from = np.arange(len(latents))
    for length, rows in tqdm(list(_alike(np.concatenate(starts), episodes, ahead)), "imagining"):
        future = rows[:, None] + 1 + np.arange(length)
        found = _imagined(world_model, episodes, rows, future)
        latents[future], seen_from[future] = found[0], rows[:, None]
        if states is not None and found[1] is not None:
            states[future] = found[1]
    return Imagined(replace(episodes, latents=JoinedRows([latents]), states=states), seen_from)


def _alike(
    starts: NDArray[np.int64], episodes: LatentEpisodes, ahead: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Starts with as many frames after them, so many at once; and how many that are."""
    ends = episodes.offsets[np.searchsorted(episodes.offsets, starts, side="right")]
    left = np.minimum(ends - 1 - starts, ahead)
    for length in range(1, ahead + 1):
        rows = starts[left == length]
        parts = np.split(rows, range(_ROWS, len(rows), _ROWS)) if len(rows) else []
        yield from ((length, some) for some in parts)


def _imagined(
    world_model: WorldModel,
    episodes: LatentEpisodes,
    rows: NDArray[np.int64],
    future: NDArray[np.int64],
) -> tuple[NDArray[np.float16], NDArray[np.float32] | None]:
    """Latents (B, H, C, h, w) and states (B, H, P) of what follows these frames."""
    assert episodes.actions is not None
    device = world_model.device
    seen = None if episodes.states is None else torch.from_numpy(episodes.states[rows])
    context = world_model.observe_latents(
        episodes.latents_at(rows)[:, None].to(device),
        torch.zeros(len(rows), 1, episodes.actions.shape[1], device=device),
        None if seen is None else seen[:, None].to(device),
        episodes.instructions_at(rows) if episodes.words is not None else None,
    )
    actions = torch.from_numpy(episodes.actions[future]).to(device)
    future_frames = world_model.rollout(
        context, world_model.action_spec.denormalize(actions)[:, None]
    )
    states = future_frames.states_BKHP
    return (
        future_frames.latents_BKHCHW[:, 0].half().cpu().numpy(),
        None if states is None else states[:, 0].float().cpu().numpy(),
    )
