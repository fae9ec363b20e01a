"""A request to stop: SIGTERM, as schedulers send it before a job's time is up, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

heeded: list[int] = []  # the signals that ended a training of this process


class StopRequest:
    """Whether training was asked to stop."""

    def __init__(self) -> None:
        self.received = False


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Within this context SIGTERM and SIGINT interrupt nothing; they are heeded between steps.

    A second SIGINT interrupts, as ever. Only the main thread can listen; in another one a request
    is never received.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _: object) -> None:
        request.received = True
        heeded.append(number)
        if number == signal.SIGINT:
            signal.signal(number, before[signal.SIGINT])

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
