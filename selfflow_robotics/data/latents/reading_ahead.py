"""Episodes read ahead by worker processes, in the order in which they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future

from ...machine.worker_process import follow_the_parent, worker_processes
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
    ahead: deque[Future[Episode | BrokenVideo]] = deque()
    with worker_processes(workers, "read episodes", begin=_begin, given=(episodes,)) as pool:
        for i in wanted:
            ahead.append(pool.submit(_read_there, i))
            if len(ahead) > _READ_AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


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
