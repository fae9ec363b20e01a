"""In which parquet file an episode's rows are, whatever `meta/` says."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from selfflow_robotics.data.lerobot.columns import scalars
from selfflow_robotics.data.lerobot.listing import damaged

_FAULTS = (OSError, ValueError, NotImplementedError)  # what PyArrow raises is one of these


class RowFiles:
    """Looks through all files of `data/` once, when it is asked for the first time.

    LeRobot's own converter left places in `meta/` that are those of the file before; LeRobot finds
    rows by looking.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def of(self, episode: int) -> tuple[Path, ...]:
        """The files that hold rows of an episode."""
        return self.all.get(episode, ())

    @property
    def all(self) -> dict[int, tuple[Path, ...]]:
        """The files of every episode that has rows."""
        return self._looked_through[0]

    @property
    def unreadable(self) -> tuple[str, ...]:
        """A sentence on each file that could not be looked through."""
        return self._looked_through[1]

    @cached_property
    def _looked_through(self) -> tuple[dict[int, tuple[Path, ...]], tuple[str, ...]]:
        found: dict[int, tuple[Path, ...]] = {}
        unreadable: list[str] = []
        for file in sorted(self._path.glob("data/**/*.parquet")):
            try:
                with pq.ParquetFile(file, page_checksum_verification=True) as rows:
                    column = rows.read(["episode_index"]).column("episode_index")
                numbers = pc.unique(scalars(column, "episode_index", str(file))).to_pylist()
            except _FAULTS as error:
                unreadable.append(str(damaged(file, error)))
                continue
            for number in numbers:
                found[number] = (*found.get(number, ()), file)
        return found, tuple(unreadable)
