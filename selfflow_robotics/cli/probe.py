"""`selfflow probe`: a read-out of the robot's state, for planning towards positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .dataset import DataConfig, one_data_set

if TYPE_CHECKING:
    from selfflow_robotics.data.clips import LatentEpisodes
    from selfflow_robotics.data.episode import Episode
    from selfflow_robotics.data.formats import Dataset
    from selfflow_robotics.world_model.world_model import WorldModel

HELP = """Fit a linear probe: reads the robot's state out of a world model's features.

Reads a world model and an RLDS or LeRobot data set (data); the network stays as it is. Prints
the variance that the probe explains on held-out episodes, entry by entry, and writes its folder
(config.json, model.safetensors) to "out"; by default beside a model that is a folder, where it is
found by the name "state". Plan with it: "selfflow plan cost.probe=state cost.target.x=0.6".
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow probe`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, folder, or org/name of the Hub"}
    )
    data: DataConfig = field(default_factory=DataConfig)
    episodes: int = field(
        default=400, metadata={"from": 1, "help": "of each side of the split, at most"}
    )
    out: Path | None = field(
        default=None, metadata={"help": "folder to write; MODEL/probes/state when null"}
    )
    device: str = field(default="cpu", metadata={"help": "of the world model: cpu, cuda"})


def run(config: Config) -> int:
    """Fit, print and write; returns 0.

    Raises:
        FileNotFoundError: no such model or data set.
        ValueError: data without actions or proprioception, or of another robot.
    """
    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.storage.model_folder import require_model_folder
    from selfflow_robotics.training.probe import fit_probe
    from selfflow_robotics.world_model.probe import PROBES
    from selfflow_robotics.world_model.world_model import WorldModel

    path = one_data_set(config.data.path)
    if config.out is None and not Path(config.world_model).is_dir():
        raise ValueError(f"{config.world_model} is no folder of yours to write to: add out=FOLDER")
    out = config.out or Path(config.world_model) / PROBES / "state"
    require_model_folder(out)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    source = open_dataset(path, config.data.mapping, config.data.split)
    _require_match(world_model, source, config)
    train, held_out = (
        _encoded(world_model, source, side, config.episodes) for side in ("train", "held-out")
    )
    probe = fit_probe(world_model, train, held_out)
    probe.save(out)
    print(
        f"fitted to {len(train.ids)} episodes; variance explained in {len(held_out.ids)} held out:"
    )
    for name, explained in zip(probe.names, probe.held_out_r2, strict=True):
        print(f"  {name:16} " + ("never varies" if explained is None else f"{explained:8.4f}"))
    print(f"wrote {out}")
    return 0


def _require_match(world_model: WorldModel, source: Dataset, config: Config) -> None:
    """Refuse data whose actions or states mean something else to the model."""
    actions, states = source.action_spec, source.state_spec
    if actions is None:
        raise ValueError(f"{source.name} has no actions, which a probe's episodes need")
    if states is None or world_model.state_spec is None:
        lacking = source.name if world_model.state_spec else config.world_model
        raise ValueError(f"{lacking} has no proprioception to read; use one that has it")
    world_model.step_spec.require_match(actions, config.world_model, source.name)
    world_model.state_spec.require_match(states, config.world_model, source.name)


def _encoded(
    world_model: WorldModel, source: Dataset, side: Literal["train", "held-out"], most: int
) -> LatentEpisodes:
    """Episodes of one side, spread over the data set."""
    from selfflow_robotics.data.fitted import fitted
    from selfflow_robotics.data.latents.encoding import encode_episodes
    from selfflow_robotics.training.recipe import OneSide

    episodes = OneSide(source, side)
    if not len(episodes):
        raise ValueError(
            f"{source.name} has {len(source)} episodes, none of them {side}; collect more, 5% of "
            "all are held out"
        )
    return encode_episodes(
        _Spread(fitted(episodes, world_model.image_fit), most),
        world_model.tokenizer,
        actions=world_model.step_spec,
        states=world_model.state_spec,
        title=f"encoding {side}",
    )


class _Spread:
    """At most so many episodes, evenly spread."""

    def __init__(self, episodes: Any, most: int) -> None:
        self.episodes = episodes
        self.step = max(1.0, len(episodes) / most)

    def __len__(self) -> int:
        return int(len(self.episodes) / self.step)

    def __getitem__(self, i: int) -> Episode:
        found: Episode = self.episodes[int(i * self.step)]
        return found
