"""`selfflow infer`: which actions led from frame to frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .dataset import DataConfig

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELP = """Infer the actions of a data set's episodes from frames and proprioception.

Reads a world model and an RLDS or LeRobot data set (data) whose mapping describes the model's
actions; where there are none in it, the mapping's YAML says "actions: []". Writes the inferred
actions of every episode, (steps - 1, entries) in the environment's units, to "out" (.npz, an array
an episode), and prints their mean absolute error, where the true ones are known, beside that of
always naming the mean action.
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow infer`."""

    world_model: str = field(
        default="tabletop-small", metadata={"help": "shipped name, folder, or org/name of the Hub"}
    )
    data: DataConfig = field(default_factory=DataConfig)
    episodes: int = field(
        default=20, metadata={"from": 1, "help": "the first so many of the split"}
    )
    steps: int = field(default=4, metadata={"from": 1, "help": "passes of the network an action"})
    out: Path = field(
        default=Path("outputs/inferred.npz"), metadata={"help": "file to write (.npz)"}
    )
    device: str = field(default="cpu", metadata={"help": "of the world model: cpu, cuda"})


def run(config: Config) -> int:
    """Infer, write and compare; returns 0.

    Raises:
        FileNotFoundError: no such model or data set.
        ValueError: data of another robot, or no episode of two frames.
    """
    import numpy as np
    from tqdm import tqdm

    from ..data.formats import open_dataset
    from ..evaluation.episodes import require_fit
    from ..storage.whole_file import require_writable, write_whole
    from ..world_model.world_model import WorldModel
    from .dataset import one_data_set

    if config.out.suffix != ".npz":
        raise ValueError(f"out={config.out}: give a file whose name ends in .npz")
    require_writable(config.out)
    source = open_dataset(one_data_set(config.data.path), config.data.mapping, config.data.split)
    world_model = WorldModel.from_pretrained(config.world_model, config.device)
    require_fit(source, world_model, config.world_model)
    inferred: dict[str, NDArray[np.float32]] = {}
    true: list[NDArray[np.float32]] = []
    for index in tqdm(range(min(config.episodes, len(source))), "infer", unit="episode"):
        episode = source[index]
        count = (len(episode) - 1) // world_model.action_block * world_model.action_block
        if not count:
            tqdm.write(f"left out {episode.id}: {len(episode)} frames, between which is no action")
            continue
        known = world_model.state_spec is not None and source.state_spec is not None
        states = episode.states
        made = world_model.infer_actions(
            episode.images[None, : count + 1],
            states=states[None, : count + 1] if known and states is not None else None,
            steps=config.steps,
        )
        inferred[episode.id] = made[0].cpu().numpy()
        if episode.actions is not None:
            true.append(episode.actions[:count])
    if not inferred:
        raise ValueError(f"{source.name} has no episode of two frames; there is nothing to infer")
    content = io.BytesIO()
    arrays: Any = inferred
    np.savez(content, **arrays)
    write_whole(config.out, content.getvalue())
    spec, found = world_model.step_spec, np.concatenate([*inferred.values()])
    if true:
        print(errors_table(spec.names, spec.units, found, np.concatenate(true)))
    else:
        print(f"{len(found)} actions of {len(inferred)} episodes; how good they are is not known")
    print(f"wrote {config.out}")
    return 0


def errors_table(
    names: Sequence[str],
    units: Sequence[str],
    inferred: NDArray[np.float32],
    true: NDArray[np.float32],
) -> str:
    """Mean absolute errors (n, A) an entry, beside those of the mean action."""
    ours = abs(inferred - true).mean(axis=0)
    mean = abs(true - true.mean(axis=0)).mean(axis=0)
    rows = [f"{'entry':12} {'inferred':>10} {'mean action':>12}  of {len(true)} steps"]
    for name, unit, error, base in zip(names, units, ours, mean, strict=True):
        rows.append(f"{name:12} {error:10.4f} {base:12.4f}  {unit}")
    return "\n".join(rows)
