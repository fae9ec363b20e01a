"""`selfflow audit`: which part of a planner loses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from selfflow_robotics.cli.dataset import DataConfig, one_data_set
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.machine.precision import Precision, use_threads
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.registry import import_own
from selfflow_robotics.storage.keys import key

HELP = """Find out which part of a planner loses: its cost, its imagination, or its candidates.

Reads a world model. In states of each task, banks of candidates at three spreads are scored by the
planner's cost on imagined frames, by the same cost on true frames, and by the truth. Says how well
each orders them and what is saved by the one it chooses; writes audit.json and audit.svg to "out".
"""


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow audit`."""

    world_model: str = key("shipped name, folder, or org/name of the Hub", "tabletop-small")
    tasks: tuple[str, ...] = key(
        "as PickCokeCan, or any Gymnasium id",
        ("PickCokeCan", "MoveNear", "OpenDrawer", "CloseDrawer"),
    )
    states: int = key("states a task", 14, least=1)
    candidates: int = key("of a state and spread", 12, least=2)
    seed: int = key("of the first state; then one more each", 70_000)
    out: Path = key("folder to write", Path("outputs/audit"))
    data: DataConfig = field(default_factory=DataConfig)
    device: str = key("of the world model: cpu, cuda", "cpu")
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    imports: tuple[str, ...] = key(
        "modules that register other people's tasks; the working folder's come first", ()
    )
    mapping: EnvMapping = field(default_factory=EnvMapping)


def run(config: Config) -> int:
    """Measure, print and write; returns 0.

    Raises:
        ValueError: an unknown task, one whose states cannot be returned to, or data without
            actions.
    """
    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.evaluation.audit.of_model import audit_model

    use_threads(config.threads)
    for name in config.imports:
        import_own(name, "imports")
    data = config.data
    source = None
    if data.path:
        source = open_dataset(one_data_set(data.path), data.mapping, data.split)
    found = audit_model(
        config.world_model,
        config.tasks,
        planner=config.planner,
        states=config.states,
        candidates=config.candidates,
        seed=config.seed,
        mapping=config.mapping,
        source=source,
        device=config.device,
        precision=config.precision,
    )
    found.write(config.out)
    print(found.table())
    print(f"audit: {config.out / 'audit.json'}\npicture: {config.out / 'audit.svg'}")
    return 0
