"""`selfflow evaluate`: success of policies in tasks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..evaluation.bench import benched
from ..evaluation.config import Comparison
from ..machine.precision import use_threads
from ..registry import import_own
from ..storage.keys import key
from .world_model import OfWorldModel

HELP = """Measure policies side by side: success per task, steps to success, planning time.

Reads a world model (a shipped name, a folder, or an org/name of the Hub) when a policy needs one.
Every policy plays the same seeds in every task. Writes results.json, growing as it goes, and one
self-contained report.html with tables, plots and videos to the folder "out". Imagined frames are
judged by held-out episodes of a data set (data), or else by what was recorded.
"""


@dataclass(frozen=True)
class Config(Comparison, OfWorldModel):
    out: Path = key("folder to write", Path("outputs/evaluate"))
    data: DataConfig = field(default_factory=DataConfig)
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    imports: tuple[str, ...] = key(
        "modules that register other people's tasks; the working folder's come first", ()
    )

    def settled(self, given: Collection[str]) -> Config:
        """As its bench sets what was not given."""
        return benched(self, given)


def run(config: Config) -> int:
    from ..evaluation import comparison
    from ..evaluation.paired import first_against_others
    from ..evaluation.results import solved

    use_threads(config.threads)
    for module in config.imports:
        import_own(module, "imports")
    out, name = config.out, config.world_model
    world_model, held_out = comparison.ready(config, name, config.data.open_given(), config.device)
    results = comparison.compare(config, world_model, name, out, comparison.options_of(config))
    print(comparison.table(results.tasks))
    print(*first_against_others(solved(results.tasks)), sep="\n")
    results = comparison.judge_and_report(
        results, world_model, out, config.horizon, held_out, videos=config.videos
    )
    if results.imagination is not None:
        print(results.imagination)
    print(f"results: {out / 'results.json'}\nreport:  {out / 'report.html'}")
    return 0
