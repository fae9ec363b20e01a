"""`selfflow rollout`: what really happened beside what is imagined."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..data.config import DataConfig
from ..storage.keys import key
from ..storage.typed_yaml import ConfigError
from ..storage.whole_file import require_writable
from .world_model import OfWorldModel

HELP = """Imagine an episode with its true actions and with others, beside what happened.

Reads a world model and an episode: of a data set (data=FOLDER, data.mapping=NAME), by default a
held-out one, or without a data set a fresh one, played by the expert of a task. Writes a video to
"out" and prints PSNR per step ahead, against copying the last frame.
"""

Other = Literal["shuffled", "zero", "mirrored"]


@dataclass(frozen=True)
class Config(OfWorldModel):
    data: DataConfig = field(default_factory=DataConfig)
    episode: int | None = key("number in the data set; the first held-out one when null", None)
    task: str | None = key("to play when there is no data set; PickCokeCan when null", None)
    seed: int = key("of the fresh episode", 30_000)
    horizon: int = key("frames imagined before the truth is shown", 4, least=1)
    other: Other = key("the other actions: of another episode, none, y-flip", "shuffled")
    out: Path = key("video to write", Path("outputs/rollout.mp4"))


def run(config: Config) -> int:
    from ..evaluation.one_rollout import imagine_one

    if config.data.path and config.task is not None:
        raise ConfigError(
            f"task={config.task} asks for a fresh episode and data={config.data.path[0]} for one "
            "that was recorded; give one of them"
        )
    source = config.data.open_given()
    require_writable(config.out)
    found = imagine_one(
        config.load_world_model(),
        source,
        config.episode,
        task=config.task or "PickCokeCan",
        seed=config.seed,
        horizon=config.horizon,
        other=config.other,
        name=config.world_model,
    )
    print(found.quality)
    shown = f"episode {found.episode.id}, {len(found.episode)} frames"
    print(f"{shown}, at twice real speed: {found.save(config.out)}")
    return 0
