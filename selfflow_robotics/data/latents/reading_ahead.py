"""Episodes read ahead by worker processes, in the order in which they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from ...machine.worker_process import follow_the_parent
from ..episode import Episode, Episodes
from ..video.source import BrokenVideo, UnreadableVideoError

_READ_AHEAD = 2  # episodes a worker


def read_episodes(
    episodes: Episodes, wanted: Sequence[int], workers: int = 0
) -> Generator[Episode | BrokenVideo, None, None]:
    """Read episodes, or what tells of a video that cannot be read, in the order of `wanted`.

    Args:
        episodes: where to read; with workers, something that can be pickled.
        workers: processes that read and decode; 0 does it in this one. They end when this process
            does, however it ends.

    Raises:
        RuntimeError: a worker died.
    """
    if workers == 0:
        for i in wanted:
            yield _read(episodes, i)
        return
    spawn = get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(episodes,))
    ahead: deque[Future[Episode | BrokenVideo]] = deque()
    try:
        for i in wanted:
            ahead.append(pool.submit(_read_there, i))
            if len(ahead) > _READ_AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that read episodes died; is memory short? "
            "run the same command again, with fewer workers="
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_episodes: Episodes  # of a worker


def _begin(episodes: Episodes) -> None:
    global _episodes
    _episodes = episodes
    follow_the_parent()


def _read_there(i: int) -> Episode | BrokenVideo:
    return _read(_episodes, i)


def _read(episodes: Episodes, i: int) -> Episode | BrokenVideo:
    try:
        return episodes[i]
    except UnreadableVideoError as error:
        return error.video
