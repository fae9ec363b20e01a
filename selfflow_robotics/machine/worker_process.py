"""Worker processes, which end with the process that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Any


def follow_the_parent() -> None:
    """Leave interrupts to the parent, and end with it even where it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


@contextmanager
def worker_processes(
    count: int,
    doing: str,
    remedy: str = "run the same command again, with fewer workers=",
    begin: Callable[..., None] = follow_the_parent,
    given: tuple[Any, ...] = (),
) -> Iterator[ProcessPoolExecutor]:
    """Processes that end when this one does, however it ends.

    Args:
        doing: what they do, for the message, as "read episodes".
        begin: what each does first, with what is `given`; it follows the parent.

    Raises:
        RuntimeError: one died; the message says what to do.
    """
    pool = ProcessPoolExecutor(count, get_context("spawn"), initializer=begin, initargs=given)
    try:
        yield pool
    except BrokenProcessPool as error:
        raise RuntimeError(f"a process that {doing} died; is memory short? {remedy}") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with(parent: object) -> None:
    parent.join()  # type: ignore[attr-defined]
    os._exit(1)
