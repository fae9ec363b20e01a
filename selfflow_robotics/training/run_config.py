"""What a run was begun with, kept beside its checkpoints, which go on with no other."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage.whole_file import write_whole

FILE = "config.json"

# What a run may go on with otherwise: how long and where it runs, what it shows and keeps, and what
# is fitted after it. Where data and tokenizer lie may change too, what they are may not.
_MAY_CHANGE = {
    *("out", "device", "cache", "tokenizer", "data.path", "data.mapping", "videos", "max_broken"),
    *("trainer.steps", "trainer.save_every", "trainer.keep", "trainer.keep_every"),
    *("trainer.log_every", "trainer.max_skipped", "trainer.accumulate", "trainer.precision"),
    *("trainer.recompute_every", "trainer.compile"),
}


@dataclass(frozen=True)
class RunSettings:
    """The settings of the run in a folder of checkpoints and curves."""

    folder: Path
    values: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, config: Mapping[str, Any], found: Mapping[str, Any]) -> RunSettings:
        """Those of a run.

        Args:
            config: what was asked for: names with values, some of which are dataclasses.
            found: what else makes the run, such as what its data are, as JSON.
        """
        return cls(folder, json.loads(json.dumps({**dict(_leaves(config)), **found}, default=str)))

    def require_same(self, what: str = "checkpoints") -> None:
        """Refuse to go on with another run's checkpoints, or with what else it left.

        Raises:
            ValueError: there are some of a run with other settings; it names what differs.
        """
        path, kept = self.folder / FILE, self.folder / "checkpoints"
        begun = what != "checkpoints" or any(kept.glob("step-*/.metadata"))
        if not path.exists() or not begun:
            return
        there = _read(path)
        differing = [
            f"{key} was {json.dumps(there.get(key))} and is {json.dumps(self.values.get(key))}"
            for key in sorted(there.keys() | self.values.keys())
            if there.get(key) != self.values.get(key)
            and not (what == "checkpoints" and _may_change(key))
        ]
        if differing:
            raise ValueError(
                f"{self.folder} holds the {what} of another run: {'; '.join(differing)}; go "
                "on with what it was begun with, or give another out"
            )

    def write(self) -> None:
        """Into the folder, for a run that goes on and for people."""
        write_whole(self.folder / FILE, json.dumps(self.values, indent=2) + "\n")


def _may_change(key: str) -> bool:
    return key in _MAY_CHANGE or key.startswith(("prior.", "critic.", "slurm."))


def _leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if dataclasses.is_dataclass(value):
            yield from _leaves(vars(value), f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _read(path: Path) -> dict[str, Any]:
    try:
        there = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove it to go on without it") from None
    if not isinstance(there, dict):
        raise ValueError(f"{path} is damaged (no JSON object); remove it to go on without it")
    return there
