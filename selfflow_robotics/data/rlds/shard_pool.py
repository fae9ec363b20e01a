"""The same work on every shard of a data set, in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from typing import TypeVar

from tqdm import tqdm

from ...machine.worker_process import worker_processes

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_every_shard(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int | None, title: str
) -> Iterator[tuple[Item, Result | ValueError]]:
    """Do the work on all items; faults of the data are results, other errors end everything.

    Args:
        work: a function of a module, and so are its arguments sendable.
        items: the shards; each comes back as soon as it is done.
        workers: processes; one a CPU when None.

    Raises:
        RuntimeError: a process died.
        ValueError: less than one worker.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers} is too few; give a number from 1, or null")
    count = max(min(workers or os.cpu_count() or 1, len(items)), 1)
    with worker_processes(count, "worked on shards") as pool:
        waiting = {pool.submit(work, item): item for item in items}
        for future in tqdm(as_completed(waiting), title, len(waiting), unit="shard"):
            try:
                yield waiting[future], future.result()
            except ValueError as error:
                yield waiting[future], error
