"""Episodes as latents, and the clips that training draws from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.modality import ACTION, PROPRIOCEPTION
from .latents.joined_rows import JoinedRows
from .vocabulary import Vocabulary

NEVER = 1e6


@dataclass(frozen=True)
class Clips:
    """A batch of B clips of T frames.

    Actions and states are normalised; `action_BTA[:, f]` led to frame f and `action_known_BT[:, f]`
    is 0 where that is not known (a clip's first frame). `steps_BT` counts the steps left until the
    instruction of the frame is carried out, NEVER where it is not; `text_BTE` is a text encoder's
    vector of what a frame is said to show, zeros where nothing is; `imitate_BT` says whether the
    action that led to a frame shows how it is done. `goal_*` is a later frame of the same episode,
    `goal_steps_BT` steps after each frame (negative: before it). `more` holds the tokens (B, T,
    tokens, size) of modalities that a network declares beyond these.
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
    text_BTE: Tensor | None = None
    more: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def modalities(self) -> dict[str, Tensor]:
        """Values of what frames are made of beside the picture, in the order of their losses."""
        own = {PROPRIOCEPTION: self.state_BTP, **self.more, ACTION: self.action_BTA}
        return {name: value for name, value in own.items() if value is not None}

    def rows(self, rows: slice) -> Clips:
        """Some of the clips."""
        held = {k: v[rows] for k, v in vars(self).items() if isinstance(v, Tensor)}
        more = {name: value[rows] for name, value in self.more.items()}
        return replace(self, **held, more=more)

    def to(self, device: torch.device | str) -> Clips:
        """The same clips on another device, latents as float32: a loader leaves them as stored."""
        moved = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        latents = {k: moved[k].float() for k in ("latents_BTCHW", "goal_BCHW") if k in moved}
        more = {name: value.to(device) for name, value in self.more.items()}
        return replace(self, **moved | latents, more=more)


@dataclass(frozen=True)
class LatentEpisodes:
    """All frames of a data set as latents, S in total, one episode after another.

    Where a latent frame spans several steps of the environment (``Tokenizer.temporal``), all rows
    are of latent frames: an action is the block of those that led to it, one after another.

    Example:
        >>> latents = encode_episodes(episodes, Patches(2), actions=RT1_ACTIONS, states=RT1_STATE)
        >>> latents.latents_at(np.array([0, 1])).shape
        torch.Size([2, 12, 4, 6])
    """

    latents: JoinedRows  # (S, C, h, w) float16
    actions: NDArray[np.float32] | None  # (S, A * temporal) normalised; row i led to frame i
    states: NDArray[np.float32] | None  # (S, P) normalised
    demonstrated: NDArray[np.bool_]  # (S,); row i is about the action that led to frame i
    texts: NDArray[np.str_]  # the distinct instructions; "" where it is unknown
    told: NDArray[np.int32]  # (S,) which of `texts`
    steps_to_success: NDArray[np.float32]  # (S,)
    offsets: NDArray[np.int64]  # (episodes + 1,)
    ids: NDArray[np.str_]  # (episodes,)
    words: NDArray[np.int64] | None = None  # (texts, L), see `with_words`
    vectors: NDArray[np.float32] | None = None  # (texts, E) of a text encoder, zeros for ""
    more: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)  # (S, tokens, size)
    steps_left: NDArray[np.float32] | None = None  # (S,), see Episode, in latent frames

    @classmethod
    def join(cls, parts: Sequence[LatentEpisodes]) -> LatentEpisodes:
        """The episodes of all parts, which were encoded alike; latents stay where they are."""

        def rows(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        def left(part: LatentEpisodes) -> NDArray[np.float32]:
            unknown = np.full(len(part.steps_to_success), np.nan, np.float32)
            return unknown if part.steps_left is None else part.steps_left

        labelled = any(part.steps_left is not None for part in parts)
        texts, which = np.unique(rows("texts"), return_inverse=True)
        firsts = np.cumsum([0, *(len(part.texts) for part in parts)])
        told = [which[first + part.told] for first, part in zip(firsts, parts, strict=False)]
        ends = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        begins = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
        return cls(
            latents=JoinedRows([array for part in parts for array in part.latents.parts]),
            actions=None if parts[0].actions is None else rows("actions"),
            states=None if parts[0].states is None else rows("states"),
            demonstrated=rows("demonstrated"),
            texts=texts,
            told=np.concatenate(told).astype(np.int32),
            steps_to_success=rows("steps_to_success"),
            offsets=np.append(np.concatenate(begins), ends[-1]),
            ids=rows("ids"),
            more={
                name: np.concatenate([part.more[name] for part in parts]) for name in parts[0].more
            },
            steps_left=np.concatenate([left(part) for part in parts]) if labelled else None,
        )

    def with_words(self, vocabulary: Vocabulary) -> LatentEpisodes:
        """The same with instructions as word indices; without instructions, as it is."""
        if not vocabulary.words:
            return self
        return replace(self, words=vocabulary.encode([str(text) for text in self.texts]))

    def instructions_at(self, frames: NDArray[np.int64]) -> list[str]:
        """The instructions of these frames, "" where it is unknown."""
        return [str(self.texts[i]) for i in self.told[frames]]

    def words_at(self, frames: NDArray[np.int64]) -> Tensor | None:
        """Word indices (*frames.shape, L); None where there are none."""
        return None if self.words is None else torch.from_numpy(self.words[self.told[frames]])

    def latents_at(self, frames: NDArray[np.int64]) -> Tensor:
        """(*frames.shape, C, h, w) float32."""
        rows = self._stored_runs(frames.reshape(-1), 1).float()
        return rows.reshape(*frames.shape, *self.latents.shape[1:])

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
        times = np.array([repeat.get(str(text).partition(" ")[0], 1) for text in self.texts])
        return np.repeat(starts, times[self.told[starts]])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Frames of each episode."""
        return np.diff(self.offsets)

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
        as_stored: bool = False,
    ) -> Clips:
        """The clips that begin at these frames, each with its goal frame where one is given.

        Args:
            as_stored: leave latents in half precision, as they are stored, until `Clips.to`.
        """
        index = starts[:, None] + np.arange(frames)
        latents = self._stored_runs(starts, frames)
        text = None if self.vectors is None else torch.from_numpy(self.vectors[self.told[index]])
        more = {name: torch.from_numpy(rows[index]) for name, rows in self.more.items()}
        if self.actions is None:
            found = Clips(latents, text_BTE=text, more=more)
            return found if as_stored else found.to("cpu")
        # A clip may begin anywhere, and no reader of history has the action before its first frame.
        known = torch.ones(index.shape)
        known[:, 0] = 0.0
        steps = torch.from_numpy(self.steps_to_success[index])
        goal: dict[str, Tensor] = {}
        if goals is not None:
            goal["goal_BCHW"] = self._stored_runs(goals, 1)[:, 0]
            goal["goal_steps_BT"] = torch.from_numpy(goals[:, None] - index)
            if self.states is not None:
                goal["goal_state_BP"] = torch.from_numpy(self.states[goals])
        found = Clips(
            latents,
            **goal,
            action_BTA=torch.from_numpy(self.actions[index]),
            action_known_BT=known,
            state_BTP=None if self.states is None else torch.from_numpy(self.states[index]),
            words_BTL=self.words_at(index),
            text_BTE=text,
            more=more,
            steps_BT=steps,
            imitate_BT=torch.from_numpy(self.demonstrated[index]) & (steps < NEVER),
        )
        return found if as_stored else found.to("cpu")

    def _stored_runs(self, starts: NDArray[np.int64], frames: int) -> Tensor:
        """(B, T, C, h, w) as stored: the rows of a clip at once, much faster than one by one."""
        out = np.empty((len(starts), frames, *self.latents.shape[1:]), self.latents.dtype)
        for clip, rows in zip(out, self.latents.runs(starts, frames), strict=True):
            clip[...] = rows
        return torch.from_numpy(out)
