"""`selfflow doctor`: what works on this machine."""

from __future__ import annotations

from dataclasses import dataclass

HELP = """Say what works on this machine, and how to get what does not.

Reads the installed packages and the shipped weights, draws one frame; writes nothing.
Exits with 0 when the core works (extras may be missing).
"""


@dataclass(frozen=True)
class Config:
    """No keys."""


def run(config: Config) -> int:
    return 0
