"""Which clips a training step sees: an order that depends on the seed and the step alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .clips import Clips, LatentEpisodes
from .epoch_order import EpochOrder
from .quiet_grain import grain


@dataclass(frozen=True)
class Batch:
    """The clips of one step on one rank, and the episodes they are of (for messages)."""

    clips: Clips
    episodes: tuple[str, ...]  # B


class ClipLoader:
    """Batches of clips: every epoch holds every clip once, shuffled anew from the seed.

    A step's batch is a function of seed and step, so a checkpoint's step is the loader's position.
    Of every batch a rank gets consecutive rows; together the ranks get what a single one would.

    Args:
        batch_size: clips of a step, over all ranks.
        repeat: see :meth:`LatentEpisodes.starts`.

    Raises:
        ValueError: no episode is long enough, or the batch does not divide over the ranks.
    """

    def __init__(
        self,
        episodes: LatentEpisodes,
        frames: int,
        batch_size: int,
        seed: int = 0,
        repeat: Mapping[str, int] | None = None,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.episodes, self.frames, self.seed = episodes, frames, seed
        self.starts = episodes.starts(frames, repeat)
        if not len(self.starts):
            raise ValueError(
                f"no episode has {frames} frames; use shorter clips (trainer.frames) or longer "
                f"episodes: the longest here has {max(episodes.lengths, default=0)}"
            )
        if batch_size % ranks:
            raise ValueError(
                f"a batch of {batch_size} clips does not divide over {ranks} ranks; change "
                "trainer.batch_size"
            )
        share = batch_size // ranks
        self._rows = slice(rank * share, (rank + 1) * share)
        self._order, self._size = EpochOrder(len(self.starts), seed), batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0."""
        starts = self.starts[self._order.places(step * self._size, self._size)]
        goals = None
        if self.episodes.actions is not None:
            goals = self.episodes.goals(starts, np.random.default_rng((self.seed, step)))
            goals = goals[self._rows]
        starts = starts[self._rows]
        clips = self.episodes.clips(starts, self.frames, goals, as_stored=True)
        return Batch(clips, self.episodes.ids_at(starts))

    def batches(self, step: int, workers: int = 1) -> Iterator[Batch]:
        """The batches of this step and all later ones.

        Args:
            workers: threads that prepare batches ahead, two each; the batches are the same. One is
                enough to keep up with steps of some milliseconds (`benchmarks/latents.py`).
        """
        ahead = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers)
        steps = grain.MapDataset.range(step, sys.maxsize)
        return iter(steps.map(self.batch).to_iter_dataset(ahead))
