"""The same work on every shard of a data set, in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from ...machine.worker_process import follow_the_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_every_shard(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None, title: str
) -> Iterator[tuple[Item, Result | ValueError]]:
    """Do the work on all items; faults of the data are results, other errors end everything.

    Args:
        work: a function of a module, and so are its arguments sendable.
        items: the shards; each comes back as soon as it is done.
        workers: processes; one a CPU when None. They end when this process does, however it ends.
        title: of the progress bar.

    Raises:
        RuntimeError: a process died.
        ValueError: less than one worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} is too few; give a number from 1, or null")
    count = max(min(workers or os.cpu_count() or 1, len(items)), 1)
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=follow_the_parent)
    try:
        waiting = {pool.submit(work, item): item for item in items}
        for future in tqdm(as_completed(waiting), title, len(waiting), unit="shard"):
            try:
                yield waiting[future], future.result()
            except ValueError as error:
                yield waiting[future], error
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that worked on shards died; is memory short? "
            "run the same command again, with fewer workers="
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
