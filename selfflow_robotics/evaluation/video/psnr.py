"""How well a world model imagines what really happened, compared with not imagining at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.world_model.protocol import Observes

_ROUNDING = 1 / 12  # mean squared error of rounding to whole levels: the least that counts


@dataclass(frozen=True)
class Imagination:
    """Quality of imagined frames 1..H steps ahead, over held-out clips.

    PSNR is in dB on uint8 frames at the world model's own resolution, taken per clip and then
    averaged; the pooled one is of the mean squared error over all clips, which still clips
    (where copying is perfect) do not dominate.
    """

    horizon: int  # H
    clips: int
    episodes: int
    height: int
    width: int
    psnr_H: tuple[float, ...]  # imagined with the true actions
    copy_psnr_H: tuple[float, ...]  # the last seen frame repeated
    shuffled_psnr_H: tuple[float, ...]  # imagined with another clip's actions
    pooled_psnr_H: tuple[float, ...]
    pooled_copy_psnr_H: tuple[float, ...]
    shuffled_error_ratio_H: tuple[float, ...]  # squared error, shuffled / true actions

    @property
    def gain(self) -> tuple[float, ...]:
        """PSNR gained over copying the last frame, in dB."""
        return tuple(a - b for a, b in zip(self.psnr_H, self.copy_psnr_H, strict=True))

    def __str__(self) -> str:
        """PSNR per step ahead, as a table."""
        lines = [
            f"imagined frames at {self.height}x{self.width}, "
            f"{self.clips} clips of {self.episodes} episodes, PSNR in dB:",
            "  steps ahead       " + "".join(f"{h:>8}" for h in range(1, self.horizon + 1)),
        ]
        for name, values in (
            ("true actions", self.psnr_H),
            ("copy of last frame", self.copy_psnr_H),
            ("of the mean error", self.pooled_psnr_H),
            ("copy, the same", self.pooled_copy_psnr_H),
            ("shuffled actions", self.shuffled_psnr_H),
            ("error ratio", self.shuffled_error_ratio_H),
        ):
            lines.append(f"  {name:18}" + "".join(f"{value:8.2f}" for value in values))
        return "\n".join(lines)


def mean_squared_error(images: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean over the last three axes, in squared levels.

    Args:
        images, truth: (..., height, width, 3), of one shape after broadcasting.
    """
    difference = images.astype(np.float32) - truth.astype(np.float32)
    return np.asarray(np.square(difference).mean(axis=(-3, -2, -1), dtype=np.float64))


def psnr(mse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio in dB of errors in squared levels of 0..255.

    An error below that of rounding (1/12) counts as that: equal images have 58.9 dB, not infinity.
    """
    return np.asarray(10 * np.log10(255.0**2 / np.maximum(mse, _ROUNDING)))


def imagine_episode(
    world_model: Observes,
    episode: Episode,
    horizon: int = 4,
    actions: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Imagine a whole episode in pieces: after every H frames the truth is shown again.

    Args:
        episode: S steps with actions, S at least 2.
        horizon: H, frames imagined in a row.
        actions: (S, A) to imagine with instead of the episode's, environment units; history keeps
            the true ones.

    Returns:
        (S - 1, height, width, 3) uint8 at the world model's size; entry i is the imagined frame
        i + 1.
    """
    truth = _Truth(world_model, episode)
    starts = np.arange(0, len(episode) - 1, horizon)
    imagined = np.empty((len(episode) - 1, *truth.images.shape[1:]), np.uint8)
    for batch in truth.batches(starts, world_model.history_len):
        # The last piece may be shorter: its surplus actions repeat the final one, and are dropped.
        future = truth.future(truth.actions if actions is None else actions, batch, horizon)
        frames = truth.imagine(world_model, batch, future[:, None])[:, 0]
        for start, piece in zip(batch, frames, strict=True):
            kept = min(horizon, len(imagined) - start)
            imagined[start : start + kept] = piece[:kept]
    return imagined


def imagination(
    world_model: Observes,
    episodes: Sequence[Episode],
    horizon: int = 4,
    max_clips: int = 256,
    seed: int = 0,
) -> Imagination:
    """Measure imagined frames against what happened.

    Clips are drawn evenly at random from all places with H frames ahead; each starts from as much
    history as the world model takes and the episode has. True and shuffled actions are imagined
    in one call, so that they start from the same noise.

    Args:
        episodes: held out from training, with actions.
        horizon: H.
        max_clips: at most this many clips.
        seed: of the choice of clips and of the shuffled actions.

    Raises:
        ValueError: an episode without actions, or fewer than two clips.
    """
    rng = np.random.default_rng(seed)
    places = np.array(
        [(e, s) for e, episode in enumerate(episodes) for s in range(len(episode) - horizon)],
        dtype=np.int64,
    ).reshape(-1, 2)
    if len(places) < 2:
        raise ValueError(
            f"{len(episodes)} episodes hold {len(places)} clips with {horizon} frames ahead, "
            "at least 2 are needed; give more or longer episodes"
        )
    chosen = np.sort(rng.permutation(len(places))[:max_clips])
    truths = [_Truth(world_model, episode) for episode in episodes]
    other = [_other_place(places, place, horizon, rng) for place in places[chosen]]

    true_CH, shuffled_CH, copy_CH = [], [], []
    for e, truth in enumerate(truths):
        mine = [i for i, c in enumerate(chosen) if places[c, 0] == e]
        partner = {int(places[chosen[i], 1]): other[i] for i in mine}
        for batch in truth.batches(np.array(sorted(partner)), world_model.history_len):
            taken = truth.future(truth.actions, batch, horizon)
            swapped = np.concatenate(
                [
                    truths[f].future(truths[f].actions, np.array([t]), horizon)
                    for f, t in (partner[int(start)] for start in batch)
                ]
            )
            frames = truth.imagine(world_model, batch, np.stack([taken, swapped], axis=1))
            after = truth.images[batch[:, None] + np.arange(1, horizon + 1)]
            error_BKH = mean_squared_error(frames, after[:, None])
            true_CH.append(error_BKH[:, 0])
            shuffled_CH.append(error_BKH[:, 1])
            copy_CH.append(mean_squared_error(truth.images[batch][:, None], after))
    true, shuffled, copied = (np.concatenate(rows) for rows in (true_CH, shuffled_CH, copy_CH))
    height, width = world_model.image_fit.size
    return Imagination(
        horizon=horizon,
        clips=len(true),
        episodes=len(set(places[chosen, 0].tolist())),
        height=height,
        width=width,
        psnr_H=_floats(psnr(true).mean(axis=0)),
        copy_psnr_H=_floats(psnr(copied).mean(axis=0)),
        shuffled_psnr_H=_floats(psnr(shuffled).mean(axis=0)),
        pooled_psnr_H=_floats(psnr(true.mean(axis=0))),
        pooled_copy_psnr_H=_floats(psnr(copied.mean(axis=0))),
        shuffled_error_ratio_H=_floats(
            shuffled.mean(axis=0) / np.maximum(true.mean(axis=0), _ROUNDING)
        ),
    )


class _Truth:
    """An episode at the world model's resolution, cut into history and future."""

    def __init__(self, world_model: Observes, episode: Episode) -> None:
        if episode.actions is None:
            raise ValueError(
                f"episode {episode.id} has no actions, so nothing tells the world model what to "
                "imagine; use a data set with actions"
            )
        if len(episode) < 2:
            raise ValueError(f"episode {episode.id} has one frame; imagining needs at least two")
        self.images = world_model.image_fit(episode.images)
        self.actions = episode.actions
        self.states = episode.states if world_model.state_spec is not None else None

    def batches(
        self, starts: NDArray[np.int64], history_len: int, size: int = 32
    ) -> Iterator[NDArray[np.int64]]:
        """Starts that have equally much history, at most `size` at a time."""
        history = np.minimum(starts + 1, history_len)
        for length in np.unique(history):
            alike = starts[history == length]
            for first in range(0, len(alike), size):
                yield alike[first : first + size]

    def future(
        self, actions: NDArray[np.float32], starts: NDArray[np.int64], horizon: int
    ) -> NDArray[np.float32]:
        """(B, H, A): the actions from each start on, the last that leads somewhere repeated."""
        index = np.minimum(starts[:, None] + np.arange(horizon), len(actions) - 2)
        return np.asarray(actions[index])

    def imagine(
        self, world_model: Observes, starts: NDArray[np.int64], actions_BKHA: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """(B, K, H, height, width, 3) uint8."""
        length = min(int(starts[0]) + 1, world_model.history_len)
        seen = starts[:, None] + np.arange(1 - length, 1)
        context = world_model.observe(
            self.images[seen],
            self.actions[seen[:, :-1]],
            states=None if self.states is None else self.states[seen],
        )
        horizon, block = actions_BKHA.shape[2], world_model.action_block
        index = np.arange(-(-horizon // block) * block).clip(max=horizon - 1)
        actions = torch.from_numpy(actions_BKHA[:, :, index])
        blocks = actions.reshape(*actions.shape[:2], len(index) // block, -1)
        return world_model.decode(world_model.rollout(context, blocks))[:, :, :horizon]


def _other_place(
    places: NDArray[np.int64], place: NDArray[np.int64], horizon: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Where else to take actions from: another episode, or as far away in the only one."""
    others = places[places[:, 0] != place[0]]
    if not len(others):
        others = places[np.abs(places[:, 1] - place[1]) >= horizon]
    if not len(others):
        others = places[places[:, 1] != place[1]]
    episode, start = others[rng.integers(len(others))]
    return int(episode), int(start)


def _floats(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
