"""Episodes read ahead by worker processes, in the order in which they are wanted."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache

import grain
import numpy as np
from numpy.typing import NDArray

from ..clips import Episodes
from ..episode import Episode
from ..video.source import BrokenVideo, UnreadableVideoError

_READ_AHEAD = 2  # episodes a worker


def read_episodes(
    episodes: Episodes, wanted: Sequence[int], workers: int = 0
) -> Iterator[Episode | BrokenVideo]:
    """Read episodes, or what tells of a video that cannot be read, in the order of `wanted`.

    Frames come from the workers as bytes in shared memory.

    Args:
        episodes: where to read; with workers, something that can be pickled.
        workers: processes that read and decode; 0 does it in this one.
    """
    if workers == 0:
        for i in wanted:
            yield _read(episodes, i)
        return
    prefetch = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_READ_AHEAD)
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_READ_AHEAD)
    source = grain.MapDataset.source(wanted).map(_Reader(episodes))
    for images, rest in source.to_iter_dataset(prefetch).mp_prefetch(options):
        if isinstance(rest, Episode):
            # A copy, for the shared memory goes with the array.
            yield replace(rest, images=np.array(images))
        else:
            yield rest


class _Reader:
    """What a worker does: frames apart, so that they travel in shared memory."""

    def __init__(self, episodes: Episodes) -> None:
        self.episodes = episodes

    def __call__(self, i: int) -> tuple[NDArray[np.uint8], Episode | BrokenVideo]:
        _leave_with_parent()
        read = _read(self.episodes, i)
        if isinstance(read, BrokenVideo):
            return np.zeros(0, np.uint8), read
        return read.images, replace(read, images=read.images[:, :1, :1])


@cache
def _leave_with_parent() -> None:
    """End this worker with the process that reads from it, were that killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def wait() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait, daemon=True).start()


def _read(episodes: Episodes, i: int) -> Episode | BrokenVideo:
    try:
        return episodes[i]
    except UnreadableVideoError as error:
        return error.video
