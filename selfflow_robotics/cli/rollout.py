"""`selfflow rollout`: what really happened beside what is imagined."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfflow_robotics.cli.dataset import DataConfig, one_data_set
from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.storage.whole_file import require_writable

from ..storage.keys import key

HELP = """Imagine an episode with its true actions and with others, beside what happened.

Reads a world model and an episode: of a data set (data=FOLDER, data.mapping=NAME), by default a
held-out one, or without a data set a fresh one, played by the expert of a task. Writes a video to
"out" and prints PSNR per step ahead, against copying the last frame.
"""

Other = Literal["shuffled", "zero", "mirrored"]


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow rollout`."""

    world_model: str = key("shipped name, folder, or org/name of the Hub", "tabletop-small")
    data: DataConfig = field(default_factory=DataConfig)
    episode: int | None = key("number in the data set; the first held-out one when null", None)
    task: str = key("to play when there is no data set", "PickCokeCan")
    seed: int = key("of the fresh episode", 30_000)
    horizon: int = key("frames imagined before the truth is shown", 4, least=1)
    other: Other = key("the other actions: of another episode, none, y-flip", "shuffled")
    out: Path = key("video to write", Path("outputs/rollout.mp4"))
    device: str = key("of the world model: cpu, cuda", "cpu")


def run(config: Config) -> int:
    """Imagine and write; returns 0.

    Raises:
        FileNotFoundError: no such model or data set.
        ValueError: a data set without actions, or with actions that mean something else.
    """
    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.envs.names import own_task
    from selfflow_robotics.evaluation.comparison import imagination_table
    from selfflow_robotics.evaluation.episodes import (
        one_and_others,
        played_by_expert,
        require_actions,
        require_fit,
    )
    from selfflow_robotics.evaluation.video.other_actions import OTHER_ACTIONS
    from selfflow_robotics.evaluation.video.psnr import imagination, imagine_episode
    from selfflow_robotics.evaluation.video.writing import side_by_side, write_video
    from selfflow_robotics.world_model.world_model import WorldModel

    source, data = None, config.data
    if data.path:
        source = require_actions(open_dataset(one_data_set(data.path), data.mapping, data.split))
        if not 0 <= (config.episode or 0) < len(source):
            raise ValueError(
                f"{source.name} has episodes 0..{len(source) - 1}, not {config.episode}"
            )
    require_writable(config.out)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    if source is not None:
        require_fit(source, world_model, config.world_model)
        episodes = one_and_others(source, config.episode, config.horizon, world_model.image_fit)
    else:
        world_model.step_spec.require_match(RT1_ACTIONS, config.world_model, config.task)
        episodes = played_by_expert(own_task(config.task), config.seed, world_model.camera_size)
    shown, *others = episodes
    actions = OTHER_ACTIONS[config.other](shown, others, world_model.step_spec)
    print(imagination_table(imagination(world_model, episodes, config.horizon)))
    columns = [("happened", world_model.image_fit(shown.images[1:]))]
    for label, given in (("true", None), (config.other, actions)):
        frames = imagine_episode(world_model, shown, config.horizon, given)
        columns.append((f"imagined: {label} actions", frames))
    path = write_video(config.out, side_by_side(columns), fps=2 * world_model.step_spec.rate_hz)
    print(f"episode {shown.id}, {len(shown)} frames, at twice real speed: {path}")
    return 0
