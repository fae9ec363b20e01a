"""A request to stop: SIGTERM, as schedulers send it before a job's time is up or taken away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopRequest:
    """Whether training was asked to stop."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within this context SIGTERM interrupts nothing; it is noted, to be heeded between steps.

    Only the main thread can listen; in another one a request is never received.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(*_: object) -> None:
        request.received = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
