"""`selfflow audit`: which part of a planner loses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..envs.mapping import EnvMapping
from ..machine.precision import Precision, use_threads
from ..planning.config import PlannerConfig
from ..registry import import_own
from ..storage.keys import key
from .world_model import OfWorldModel

HELP = """Find out which part of a planner loses: its cost, its imagination, or its candidates.

Reads a world model. In states of each task, banks of candidates at three spreads are scored by the
planner's cost on imagined frames, by the same cost on true frames, and by the truth. Says how well
each orders them and what is saved by the one it chooses; writes audit.json and audit.svg to "out".
"""


@dataclass(frozen=True)
class Config(OfWorldModel):
    tasks: tuple[str, ...] = key(
        "as PickCokeCan, or any Gymnasium id",
        ("PickCokeCan", "MoveNear", "OpenDrawer", "CloseDrawer"),
    )
    states: int = key("states a task", 14, least=1)
    candidates: int = key("of a state and spread", 12, least=2)
    seed: int = key("of the first state; then one more each", 70_000)
    out: Path = key("folder to write", Path("outputs/audit"))
    data: DataConfig = field(default_factory=DataConfig)
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    imports: tuple[str, ...] = key(
        "modules that register other people's tasks; the working folder's come first", ()
    )
    mapping: EnvMapping = field(default_factory=EnvMapping)


def run(config: Config) -> int:
    from ..evaluation.audit.of_model import audit_model

    use_threads(config.threads)
    for module in config.imports:
        import_own(module, "imports")
    found = audit_model(
        config.world_model,
        config.tasks,
        planner=config.planner,
        states=config.states,
        candidates=config.candidates,
        seed=config.seed,
        mapping=config.mapping,
        source=config.data.open_given(),
        device=config.device,
        precision=config.precision,
    )
    found.write(config.out)
    print(found.table())
    print(f"audit: {config.out / 'audit.json'}\npicture: {config.out / 'audit.svg'}")
    return 0
