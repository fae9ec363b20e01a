"""In which parquet file an episode's rows are, whatever `meta/` says."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from selfflow_robotics.data.lerobot.columns import scalars
from selfflow_robotics.data.lerobot.listing import damaged

_FAULTS = (OSError, ValueError, NotImplementedError)  # what PyArrow raises is one of these


def found_rows(path: Path) -> tuple[dict[int, tuple[Path, ...]], tuple[str, ...]]:
    """Looks through all files of `data/`.

    LeRobot's own converter left places in `meta/` that are those of the file before; LeRobot finds
    rows by looking.

    Returns:
        The files with rows of each episode, and a sentence on each file that could not be looked
        through.
    """
    found: dict[int, tuple[Path, ...]] = {}
    unreadable: list[str] = []
    for file in sorted(path.glob("data/**/*.parquet")):
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
