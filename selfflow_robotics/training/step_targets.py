"""What episodes teach about the steps still needed: labels, or what they show of themselves.

Where no label tells, a frame's own episode does: success that comes within a few steps is counted
out (hindsight), and from a frame further on the critic itself is asked (a temporal difference).
Both say how long it took those who acted, which is at least what is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.clips import NEVER, LatentEpisodes


@dataclass(frozen=True)
class Asked:
    """B frames, what is asked of them, and what is known of the answer.

    Where `steps` is NaN the answer is `gap` steps more than that from `gap` frames further on.
    `sure` are labels; others are what somebody took, who may have gone astray. `goals` are frames
    to reach; None asks for the instruction.
    """

    frames: NDArray[np.int64]
    steps: NDArray[np.float32]
    gap: NDArray[np.int64]
    sure: NDArray[np.bool_]
    goals: NDArray[np.int64] | None = None


class StepTargets:
    """What the frames of episodes teach.

    Args:
        ahead: steps of an episode itself that a target counts before it asks the critic.
    """

    def __init__(self, episodes: LatentEpisodes, ahead: int) -> None:
        self.ahead = ahead
        self.known = known_steps(episodes)
        self._left = episodes.steps_to_success
        self._last = _last_frames(episodes)
        frames = np.arange(len(self._last))
        self._final = np.repeat(episodes.offsets[1:] - 1, episodes.lengths)
        told = episodes.texts[episodes.told] != ""
        teaches = ~np.isnan(self.known) | (self._last > frames) | (self._left <= ahead)
        self.frames = np.flatnonzero(told & teaches)
        self.begun = np.flatnonzero(self._final > frames)

    def of_words(self, frames: NDArray[np.int64]) -> Asked:
        """Steps to what the instructions of these frames say."""
        steps, left = self.known[frames], self._left[frames]
        sure = ~np.isnan(steps)
        steps = np.where(~sure & (left <= self.ahead), left, steps)
        return Asked(frames, steps, np.minimum(self._last[frames] - frames, self.ahead), sure)

    def of_goals(self, frames: NDArray[np.int64], generator: torch.Generator) -> Asked:
        """Steps to other frames: three in four of the same episode and later, others of any."""
        whole, where = torch.rand(2, len(frames), generator=generator).numpy()
        own = whole < 0.75
        later = frames + (where * (self._final[frames] - frames + 1)).astype(np.int64)
        goals = np.where(own, later, (where * len(self._final)).astype(np.int64))
        near = own & (goals - frames <= self.ahead)
        steps = np.where(near, goals - frames, np.nan).astype(np.float32)
        gap = np.minimum(self._final[frames] - frames, self.ahead)
        return Asked(frames, steps, gap, np.zeros(len(frames), np.bool_), goals)


def known_steps(episodes: LatentEpisodes) -> NDArray[np.float32]:
    """(S,) steps still needed: labels, or those of demonstrations; inf: never, NaN: not known."""
    unshown = np.cumsum(~episodes.demonstrated)
    shown = unshown == unshown[_last_frames(episodes)]  # all that was done from here on
    shown &= episodes.steps_to_success < NEVER
    found = np.where(shown, episodes.steps_to_success, np.nan).astype(np.float32)
    if episodes.steps_left is None:
        return found
    return np.where(np.isnan(episodes.steps_left), found, episodes.steps_left)


def _last_frames(episodes: LatentEpisodes) -> NDArray[np.int64]:
    """(S,) the last frame of each one's episode under the same instruction."""
    ends = np.zeros(len(episodes.told), np.bool_)
    ends[:-1] = episodes.told[1:] != episodes.told[:-1]
    ends[episodes.offsets[1:] - 1] = True
    return np.flatnonzero(ends)[np.cumsum(ends) - ends]


def later_by(chance_BKN: Tensor, gap_B: Tensor) -> Tensor:
    """The chances of so many steps more; what goes beyond the most is lost."""
    most = chance_BKN.shape[-1] - 1
    source = torch.arange(most, device=gap_B.device) - gap_B[:, None, None]
    source = source.expand(*chance_BKN.shape[:2], most)
    moved = chance_BKN.gather(2, source.clamp(min=0)) * (source >= 0)
    return torch.cat((moved, 1 - moved.sum(dim=2, keepdim=True)), dim=2)
