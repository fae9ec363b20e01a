"""`selfflow doctor`: what works on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..storage.keys import key

HELP = """Say what works on this machine, and how to get what does not.

Reads the installed packages and the shipped weights, draws one frame and encodes a short video in
memory. Writes nothing, but for the file named by json. Exits with 0 when the core works (extras may
be missing), otherwise with 1.
"""


@dataclass(frozen=True)
class Config:
    json: Path | None = key("write the findings here too", None)


def run(config: Config) -> int:
    """Print a line for each thing looked at; 0 when all that the core needs works."""
    from ..machine.doctor import diagnose

    findings = []
    for finding in diagnose():
        findings.append(finding)
        print(finding, flush=True)
    if config.json is not None:
        from selfflow_robotics.storage.whole_file import write_whole

        write_whole(config.json, json.dumps([asdict(one) for one in findings], indent=2))
    return 0 if all(finding.ok for finding in findings if finding.core) else 1
