"""Clips of pixels in random order, every stored frame decoded once an epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode, EpisodeSource

_AHEAD = 3  # batches made before they are asked for


@dataclass(frozen=True)
class PixelClips:
    """A batch of B clips of T frames."""

    images_BTHWC: NDArray[np.uint8]
    actions_BTA: NDArray[np.float32] | None  # as stored; row f is taken after seeing frame f
    episodes: tuple[str, ...]  # B, which each clip is of


class ClipReader:
    """Endless batches of clips; every epoch holds every clip once.

    Clips overlap, so reading each by itself would decode a frame once for every clip that holds
    it. Instead the episodes are put in random order and decoded a pool at a time; the clips of a
    pool are shuffled among themselves while threads decode the next one. A batch therefore mixes
    clips of about as many episodes as it has rows, as long as that is less than the pool.

    Memory: the pixels of two pools. 64 episodes of RT-1 at 256x320 are 0.7 GB.

    Args:
        source: the episodes; those shorter than a clip are left out.
        frames: T of a clip.
        batch_size: B.
        seed: decides the order.
        pool: episodes decoded at a time.
        threads: that decode.
    """

    def __init__(
        self,
        source: EpisodeSource,
        frames: int,
        batch_size: int,
        seed: int = 0,
        pool: int = 64,
        threads: int = 2,
    ) -> None:
        self.source, self.frames, self.batch_size, self.seed = source, frames, batch_size, seed
        self.pool, self.threads = pool, threads

    def __iter__(self) -> Iterator[PixelClips]:
        with ThreadPoolExecutor(self.threads) as decoders, ThreadPoolExecutor(1) as stacker:
            clips = self._clips(decoders)
            ahead: deque[Future[PixelClips]] = deque()
            while True:
                while len(ahead) < _AHEAD:
                    ahead.append(stacker.submit(self._stack, list(islice(clips, self.batch_size))))
                yield ahead.popleft().result()

    def _clips(self, threads: ThreadPoolExecutor) -> Iterator[tuple[Episode, int]]:
        order = self._order()
        coming = self._start(threads, order)
        for number in count():
            episodes = [future.result() for future in coming]
            coming = self._start(threads, order)
            places = [
                (episode, start)
                for episode in episodes
                for start in range(len(episode) - self.frames + 1)
            ]
            if not places and number * self.pool >= len(self.source):
                raise ValueError(
                    f"no episode of {self.source.name} has {self.frames} frames; "
                    "use shorter clips or longer episodes"
                )
            random = np.random.default_rng((self.seed, 1, number))
            yield from (places[i] for i in random.permutation(len(places)))

    def _order(self) -> Iterator[int]:
        for epoch in count():
            random = np.random.default_rng((self.seed, 0, epoch))
            yield from (int(i) for i in random.permutation(len(self.source)))

    def _start(self, threads: ThreadPoolExecutor, order: Iterator[int]) -> list[Future[Episode]]:
        share = min(self.pool, len(self.source))
        return [threads.submit(self.source.__getitem__, i) for i in islice(order, share)]

    def _stack(self, clips: list[tuple[Episode, int]]) -> PixelClips:
        windows = [(episode, slice(start, start + self.frames)) for episode, start in clips]
        actions = [e.actions[window] for e, window in windows if e.actions is not None]
        return PixelClips(
            np.stack([episode.images[window] for episode, window in windows]),
            np.stack(actions) if actions else None,
            tuple(episode.id for episode, _ in windows),
        )
