"""`selfflow rollout`: what really happened beside what is imagined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from selfflow_robotics.cli.dataset import DataConfig
from selfflow_robotics.cli.episodes import held_out, open_data, read_long_enough, require_fit
from selfflow_robotics.data.action_spec import RT1_ACTIONS, ActionSpec
from selfflow_robotics.storage.whole_file import require_writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from selfflow_robotics.data.episode import Episode
    from selfflow_robotics.data.formats import Dataset
    from selfflow_robotics.images.fit import ImageFit

HELP = """Imagine an episode with its true actions and with others, beside what happened.

Reads a world model and an episode: of a data set (data=FOLDER, data.mapping=NAME), by default a
held-out one, or without a data set a fresh one, played by the expert of a task. Writes a video to
"out" and prints PSNR per step ahead, against copying the last frame.
"""

Other = Literal["shuffled", "zero", "mirrored"]


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow rollout`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, folder, or org/name of the Hub"}
    )
    data: DataConfig = field(default_factory=DataConfig)
    episode: int | None = field(
        default=None, metadata={"help": "number in the data set; the first held-out one when null"}
    )
    task: str = field(default="PickCokeCan", metadata={"help": "to play when there is no data set"})
    seed: int = field(default=30_000, metadata={"help": "of the fresh episode"})
    horizon: int = field(
        default=4, metadata={"from": 1, "help": "frames imagined before the truth is shown"}
    )
    other: Other = field(
        default="shuffled", metadata={"help": "the other actions: of another episode, none, y-flip"}
    )
    out: Path = field(default=Path("outputs/rollout.mp4"), metadata={"help": "video to write"})
    device: str = field(default="cpu", metadata={"help": "of the world model: cpu, cuda"})


def run(config: Config) -> int:
    """Imagine and write; returns 0.

    Raises:
        FileNotFoundError: no such model or data set.
        ValueError: a data set without actions, or with actions that mean something else.
    """
    from selfflow_robotics.cli.comparison import imagination_table
    from selfflow_robotics.evaluation.video.psnr import imagination, imagine_episode
    from selfflow_robotics.evaluation.video.writing import side_by_side, write_video
    from selfflow_robotics.world_model.world_model import WorldModel

    source = open_data(config.data) if config.data.path else None
    if source is not None and not 0 <= (config.episode or 0) < len(source):
        raise ValueError(f"{source.name} has episodes 0..{len(source) - 1}, not {config.episode}")
    require_writable(config.out)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    if source is not None:
        require_fit(source, world_model, config.world_model)
        episodes = _stored(config, source, world_model.image_fit)
    else:
        world_model.step_spec.require_match(RT1_ACTIONS, config.world_model, config.task)
        episodes = _played(config, world_model.camera_size)
    shown, *others = episodes
    actions = OTHER_ACTIONS[config.other](shown, others, world_model.step_spec)
    print(imagination_table(imagination(world_model, episodes, config.horizon)))
    video = side_by_side(
        [
            ("happened", world_model.image_fit(shown.images[1:])),
            ("imagined: true actions", imagine_episode(world_model, shown, config.horizon)),
            (
                f"imagined: {config.other} actions",
                imagine_episode(world_model, shown, config.horizon, actions),
            ),
        ]
    )
    path = write_video(config.out, video, fps=2 * world_model.step_spec.rate_hz)
    print(f"episode {shown.id}, {len(shown)} frames, at twice real speed: {path}")
    return 0


def shuffled(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """The actions of another episode, over again where it is shorter; (S, A)."""
    source = next((e for e in others if e.actions is not None), None)
    actions = _actions(source or shown)[:-1]
    if source is None:
        actions = np.roll(actions, len(actions) // 2, axis=0)
    return np.resize(actions, _actions(shown).shape)


def zero(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """No displacement, the gripper kept; (S, A)."""
    return np.zeros_like(_actions(shown))


def mirrored(shown: Episode, others: list[Episode], spec: ActionSpec) -> NDArray[np.float32]:
    """The actions seen in a mirror along the robot's middle: left is right; (S, A).

    Raises:
        ValueError: actions without the entries y, roll and yaw.
    """
    lacking = [name for name in ("y", "roll", "yaw") if name not in spec.names]
    if lacking:
        raise ValueError(
            f"actions with the entries {spec.names} cannot be mirrored, {lacking[0]} is lacking; "
            "use other=shuffled or other=zero"
        )
    actions = _actions(shown).copy()
    actions[:, [spec.names.index(name) for name in ("y", "roll", "yaw")]] *= -1
    low, high = (np.asarray(bound, np.float32) for bound in (spec.low, spec.high))
    return np.clip(actions, low, high)


OTHER_ACTIONS: dict[str, Callable[[Episode, list[Episode], ActionSpec], NDArray[np.float32]]] = {
    "shuffled": shuffled,
    "zero": zero,
    "mirrored": mirrored,
}


def _actions(episode: Episode) -> NDArray[np.float32]:
    if episode.actions is None:
        raise ValueError(
            f"episode {episode.id} has no actions to imagine with; use a data set with actions"
        )
    return episode.actions


def _stored(config: Config, source: Dataset, fit: ImageFit, most: int = 16) -> list[Episode]:
    """The wanted episode, then held-out ones; where these are not two, others too.

    Raises:
        ValueError: too few frames to imagine so many steps ahead.
    """
    chosen = list(held_out(source, config.data.split))
    if len(chosen) < 2:
        most = 2
        chosen += range(len(source))
    if config.episode is not None:
        wanted = source[config.episode]
        if len(wanted) <= config.horizon:
            raise ValueError(
                f"episode {wanted.id} has {len(wanted)} frames, too few to imagine "
                f"{config.horizon} steps; lower horizon, or choose another episode"
            )
        chosen.insert(0, config.episode)
    return read_long_enough(source, dict.fromkeys(chosen), config.horizon, most, fit)


def _played(config: Config, image_size: tuple[int, int]) -> list[Episode]:
    """Two fresh episodes of the task's expert."""
    from selfflow_robotics.cli.policies import make_policy, own_task
    from selfflow_robotics.evaluation.evaluate import evaluate

    task = own_task(config.task)
    seeds = (config.seed, config.seed + 1)
    found = evaluate(
        task, lambda envs: make_policy("expert", None, envs), seeds, 2, image_size, record=2
    )
    if not found.recorded:
        raise ValueError(f"{task} starts solved with the seeds {seeds}; give another seed")
    return [recording.episode for recording in found.recorded]
