"""Episodes to latents: what of an episode is kept, and at which latent frame it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from ...tokenizers.tokenizer import Tokenizer
from ..action_spec import ActionSpec, StateSpec
from ..clips import NEVER, LatentEpisodes
from ..episode import Episode, Episodes
from .joined_rows import JoinedRows

_Number = TypeVar("_Number", bound=np.generic)
_BATCH_PIXELS = 64 * 256 * 320


def encode_episodes(
    episodes: Episodes,
    tokenizer: Tokenizer,
    *,
    actions: ActionSpec | None = None,
    states: StateSpec | None = None,
    title: str = "encoding",
) -> LatentEpisodes:
    """Encode every frame once, in memory; bad episodes are errors that name them."""
    read = (episodes[i] for i in range(len(episodes)))
    told = tqdm(read, total=len(episodes), desc=title, unit="episode")
    return LatentEpisodes.join(list(encode_each(told, tokenizer, actions, states)))


def encode_each(
    episodes: Iterable[Episode],
    tokenizer: Tokenizer,
    actions: ActionSpec | None = None,
    states: StateSpec | None = None,
) -> Iterator[LatentEpisodes]:
    """Encode episodes one by one, several at a time through the tokenizer.

    Raises:
        ValueError: an episode lacks the actions or states that are wanted, or its latents are not
            finite; the message names it.
    """
    for batch in _batches(episodes):
        for episode, latents in zip(batch, _latents(batch, tokenizer), strict=True):
            if not np.isfinite(latents).all():
                raise ValueError(
                    f"the latents of episode {episode.id} are not finite in half precision; look "
                    "at its frames, and whether the tokenizer's weights are whole"
                )
            yield _kept(episode, latents, tokenizer.temporal, actions, states)


def _batches(episodes: Iterable[Episode]) -> Iterator[list[Episode]]:
    batch: list[Episode] = []
    for episode in episodes:
        batch.append(episode)
        if sum(one.images[..., 0].size for one in batch) >= _BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch


def _latents(batch: Sequence[Episode], tokenizer: Tokenizer) -> list[NDArray[np.float16]]:
    """(S', C, h, w) of each episode."""
    if tokenizer.temporal > 1:
        made = [tokenizer.encode_video(torch.from_numpy(one.images)) for one in batch]
    else:
        frames = np.concatenate([one.images for one in batch])
        lengths = [len(one.images) for one in batch]
        made = list(torch.split(tokenizer.encode(torch.from_numpy(frames)), lengths))
    return [latents.half().cpu().numpy() for latents in made]


def _kept(
    episode: Episode,
    latents: NDArray[np.float16],
    temporal: int,
    actions: ActionSpec | None,
    states: StateSpec | None,
) -> LatentEpisodes:
    """One episode; latent frame j is of step j * temporal and those after frame j - 1."""
    if actions is not None and episode.actions is None:
        raise ValueError(f"episode {episode.id} has no actions; use it for pretraining only")
    if states is not None and episode.states is None:
        raise ValueError(f"episode {episode.id} has no proprioception; set it aside")
    length = len(episode.images)
    at = np.arange(len(latents)) * temporal  # the last step of each latent frame
    shown = np.ones(length, np.bool_)
    if episode.demonstrated is not None:
        shown[1:] = episode.demonstrated[:-1]
    led_to = state = None
    if actions is not None and episode.actions is not None:
        rows = np.zeros_like(episode.actions, np.float32)
        rows[1:] = actions.normalize(episode.actions[:-1])
        led_to = _blocks(rows, len(latents), temporal).reshape(len(latents), -1)
    if states is not None and episode.states is not None:
        state = states.normalize(episode.states).astype(np.float32)[at]
        bad = np.flatnonzero(~np.isfinite(state).all(axis=1))
        if len(bad):
            raise ValueError(
                f"episode {episode.id} has proprioception {episode.states[at[bad[0]]].tolist()} at "
                f"step {at[bad[0]]}, which is not finite once normalised; mend or leave out the "
                "episode"
            )
    left = _steps_to_success(episode)[at]
    texts, told = np.unique(episode.instructions or ("",) * length, return_inverse=True)
    return LatentEpisodes(
        latents=JoinedRows([latents]),
        actions=led_to,
        states=state,
        demonstrated=np.all(_blocks(shown, len(latents), temporal), axis=1),
        texts=texts,
        told=told[at].astype(np.int32),
        steps_to_success=np.where(left < NEVER, left / temporal, NEVER).astype(np.float32),
        offsets=np.array([0, len(latents)]),
        ids=np.array([episode.id]),
        steps_left=None
        if episode.steps_left is None
        else (episode.steps_left[at] / temporal).astype(np.float32),
    )


def _blocks(rows: NDArray[_Number], frames: int, temporal: int) -> NDArray[_Number]:
    """(S, ...) rows that led to each step -> (S', temporal, ...) that led to each latent frame.

    The first latent frame is of the first step alone; before it, that row is repeated.
    """
    padded = np.concatenate([np.repeat(rows[:1], temporal - 1, axis=0), rows])
    return padded[: frames * temporal].reshape(frames, temporal, *rows.shape[1:])


def _steps_to_success(episode: Episode) -> NDArray[np.float32]:
    """Steps left until a frame's instruction is carried out: it changes, or success ends it."""
    length = len(episode.images)
    if episode.success is False or not episode.instructions:
        return np.full(length, NEVER, np.float32)
    told = episode.instructions
    changes = [i for i in range(1, length) if told[i] != told[i - 1]]
    ends = np.asarray([*changes, length - 1])
    frame = np.arange(length)
    # A frame with a new instruction is at its beginning, not at the end of the one before.
    return (ends[np.searchsorted(changes, frame, side="right")] - frame).astype(np.float32)
