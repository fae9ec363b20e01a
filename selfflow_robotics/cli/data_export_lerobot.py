"""`selfflow data export lerobot`: a data set's episodes as a LeRobot data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..storage.keys import key

HELP = """Export a data set's episodes as a LeRobot data set (v3.0: parquet and H.264).

Reads an RLDS or LeRobot data set (data); writes the folder "out", in full or not at all. Actions,
states and instructions are kept exactly, images within the codec's error. "selfflow finetune" and
the other commands read the result with the same mapping.
"""


@dataclass(frozen=True)
class Config:
    out: Path = key("folder to write; must not exist")
    data: DataConfig = field(default_factory=DataConfig)


def run(config: Config) -> int:
    from selfflow_robotics.data.formats import FORMATS

    export = FORMATS["lerobot"].export
    assert export is not None
    source = config.data.open_one()
    steps = export(source, config.out)
    size = sum(file.stat().st_size for file in config.out.rglob("*") if file.is_file())
    print(f"{len(source)} episodes, {steps} steps, {size / steps:.0f} bytes a step")
    print(f"wrote {config.out}")
    return 0
