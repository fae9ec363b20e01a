"""Episodes as latents in memory, and the clips that training draws from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..tokenizers.tokenizer import Tokenizer
from .action_spec import ActionSpec, StateSpec
from .episode import Episode
from .vocabulary import Vocabulary

NEVER = 1e6


class Episodes(Protocol):
    """Episodes in random access."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Episode: ...


@dataclass(frozen=True)
class Clips:
    """A batch of B clips of T frames.

    Actions and states are normalised; `action_BTA[:, f]` led to frame f and `action_known_BT[:, f]`
    is 0 where that is not known (a clip's first frame). `steps_BT` counts the steps left until the
    instruction of the frame is carried out, NEVER where it is not; `imitate_BT` says whether the
    action that led to a frame shows how it is done. `goal_*` is a later frame of the same episode,
    `goal_steps_BT` steps after each frame (negative: before it).
    """

    latents_BTCHW: Tensor
    action_BTA: Tensor | None = None
    action_known_BT: Tensor | None = None
    state_BTP: Tensor | None = None
    words_BTL: Tensor | None = None
    steps_BT: Tensor | None = None
    imitate_BT: Tensor | None = None
    goal_BCHW: Tensor | None = None
    goal_state_BP: Tensor | None = None
    goal_steps_BT: Tensor | None = None

    def to(self, device: torch.device | str) -> Clips:
        """The same clips on another device."""
        parts = vars(self).items()
        return replace(self, **{k: v.to(device) for k, v in parts if v is not None})


_JOINED = (
    "latents",
    "actions",
    "states",
    "demonstrated",
    "instructions",
    "steps_to_success",
    "ids",
)


@dataclass(frozen=True)
class LatentEpisodes:
    """All frames of a data set as latents, S in total, one episode after another."""

    latents: NDArray[np.float16]  # (S, C, h, w)
    actions: NDArray[np.float32] | None  # (S, A) normalised; row i led to frame i
    states: NDArray[np.float32] | None  # (S, P) normalised
    demonstrated: NDArray[np.bool_]  # (S,); row i is about the action that led to frame i
    instructions: NDArray[np.str_]  # (S,) or (0,)
    steps_to_success: NDArray[np.float32]  # (S,)
    offsets: NDArray[np.int64]  # (episodes + 1,)
    ids: NDArray[np.str_]  # (episodes,)
    words: NDArray[np.int64] | None = None  # (S, L), see `with_words`

    @classmethod
    def join(cls, parts: Sequence[LatentEpisodes]) -> LatentEpisodes:
        """The episodes of all parts, which were encoded alike."""
        ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        joined: dict[str, Any] = {
            name: None
            if getattr(parts[0], name) is None
            else np.concatenate([getattr(part, name) for part in parts])
            for name in _JOINED
        }
        first = [part.offsets[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
        return cls(**joined, offsets=np.append(np.concatenate(first), ends[-1]))

    def with_words(self, vocabulary: Vocabulary) -> LatentEpisodes:
        """The same with instructions as word indices; without instructions, as it is."""
        if not vocabulary.words:
            return self
        texts, which = np.unique(self.instructions, return_inverse=True)
        return replace(self, words=vocabulary.encode([str(t) for t in texts])[which])

    def starts(self, frames: int, repeat: Mapping[str, int] | None = None) -> NDArray[np.int64]:
        """The first frame of every clip of that many frames inside one episode.

        Args:
            repeat: how often clips come whose instruction begins with a word; the others once.
        """
        spans = [
            np.arange(first, last - frames + 1)
            for first, last in zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ]
        starts = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        if not repeat:
            return starts
        texts, which = np.unique(self.instructions, return_inverse=True)
        times = np.array([repeat.get(str(text).partition(" ")[0], 1) for text in texts])
        return np.repeat(starts, times[which[starts]])

    def ids_at(self, frames: NDArray[np.int64]) -> tuple[str, ...]:
        """The episodes that these frames are of."""
        return tuple(self.ids[np.searchsorted(self.offsets, frames, side="right") - 1].tolist())

    def goals(self, starts: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """A later frame of the same episode for each: near ones and far ones alike.

        The distance is geometric with a mean of 12 steps.
        """
        ends = self.offsets[np.searchsorted(self.offsets, starts, side="right")]
        return np.asarray(np.minimum(starts + random.geometric(1 / 12, len(starts)), ends - 1))

    def clips(
        self,
        starts: NDArray[np.int64],
        frames: int,
        goals: NDArray[np.int64] | None = None,
    ) -> Clips:
        """The clips that begin at these frames, each with its goal frame where one is given."""
        index = starts[:, None] + np.arange(frames)
        latents = torch.from_numpy(self.latents[index].astype(np.float32))
        if self.actions is None:
            return Clips(latents)
        # A clip may begin anywhere, and no reader of history has the action before its first frame.
        known = torch.ones(index.shape)
        known[:, 0] = 0.0
        steps = torch.from_numpy(self.steps_to_success[index])
        goal: dict[str, Tensor] = {}
        if goals is not None:
            goal["goal_BCHW"] = torch.from_numpy(self.latents[goals].astype(np.float32))
            goal["goal_steps_BT"] = torch.from_numpy(goals[:, None] - index)
            if self.states is not None:
                goal["goal_state_BP"] = torch.from_numpy(self.states[goals])
        return Clips(
            latents,
            **goal,
            action_BTA=torch.from_numpy(self.actions[index]),
            action_known_BT=known,
            state_BTP=None if self.states is None else torch.from_numpy(self.states[index]),
            words_BTL=None if self.words is None else torch.from_numpy(self.words[index]),
            steps_BT=steps,
            imitate_BT=torch.from_numpy(self.demonstrated[index]) & (steps < NEVER),
        )


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


def encode_episodes(
    episodes: Episodes,
    tokenizer: Tokenizer,
    *,
    actions: ActionSpec | None = None,
    states: StateSpec | None = None,
    title: str = "encoding",
) -> LatentEpisodes:
    """Encode every frame once; bad episodes are errors that name them."""
    latents, action_rows, state_rows, shown, steps, ids = [], [], [], [], [], []
    instructions: list[str] = []
    offsets = [0]
    for i in tqdm(range(len(episodes)), desc=title, unit="episode"):
        episode = episodes[i]
        length = len(episode.images)
        with torch.no_grad():
            latents.append(tokenizer.encode(torch.from_numpy(episode.images)).half().cpu().numpy())
        offsets.append(offsets[-1] + length)
        ids.append(episode.id)
        steps.append(_steps_to_success(episode))
        led_from = np.ones(length, np.bool_)
        if episode.demonstrated is not None:
            led_from[1:] = episode.demonstrated[:-1]
        shown.append(led_from)
        if actions is not None:
            if episode.actions is None:
                raise ValueError(
                    f"episode {episode.id} has no actions; use it for pretraining only"
                )
            led_to = np.zeros_like(episode.actions)
            led_to[1:] = actions.normalize(episode.actions[:-1])
            action_rows.append(led_to.astype(np.float32))
        if states is not None:
            if episode.states is None:
                raise ValueError(f"episode {episode.id} has no proprioception; set it aside")
            state_rows.append(states.normalize(episode.states).astype(np.float32))
        instructions.extend(episode.instructions)
    return LatentEpisodes(
        np.concatenate(latents),
        np.concatenate(action_rows) if action_rows else None,
        np.concatenate(state_rows) if state_rows else None,
        np.concatenate(shown),
        np.asarray(instructions, dtype=np.str_),
        np.concatenate(steps),
        np.asarray(offsets),
        np.asarray(ids, dtype=np.str_),
    )
