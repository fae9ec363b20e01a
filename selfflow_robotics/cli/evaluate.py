"""`selfflow evaluate`: success of policies in tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..data.config import DataConfig
from ..evaluation.config import Comparison
from ..machine.precision import use_threads
from ..registry import import_own
from ..storage.keys import key
from .world_model import OfWorldModel

_TOLD_ELSEWHERE = {
    *("world_model", "tasks", "policies", "episodes", "seed", "num_envs", "image_size"),
    *("out", "videos"),
}

HELP = """Measure policies side by side: success per task, steps to success, planning time.

Reads a world model (a shipped name, a folder, or an org/name of the Hub) when a policy needs one.
Every policy plays the same seeds in every task. Writes results.json, growing as it goes, and one
self-contained report.html with tables, plots and videos to the folder "out". Imagined frames are
judged by held-out episodes of a data set (data), or else by what was recorded.
"""


@dataclass(frozen=True)
class Config(Comparison, OfWorldModel):
    """Keys of `selfflow evaluate`."""

    out: Path = key("folder to write", Path("outputs/evaluate"))
    videos: int = key("videos a task and policy in the report", 1)
    data: DataConfig = field(default_factory=DataConfig)
    horizon: int = key("steps ahead for imagined frames", 4, least=1)
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    imports: tuple[str, ...] = key(
        "modules that register other people's tasks; the working folder's come first", ()
    )


def run(config: Config) -> int:
    """Evaluate; returns 0."""
    from ..evaluation.comparison import (
        compare,
        imagination_table,
        judge_and_report,
        options_of,
        ready,
        table,
    )

    use_threads(config.threads)
    for name in config.imports:
        import_own(name, "imports")
    out, horizon, model = config.out, config.horizon, config.world_model
    world_model, episodes = ready(config, model, config.data.open_given(), horizon, config.device)
    options = options_of(config, _TOLD_ELSEWHERE)
    results = compare(config, world_model, model, out, max(config.videos, 4), options)
    print(table(results.tasks))
    results = judge_and_report(results, world_model, out, horizon, episodes, videos=config.videos)
    if results.imagination is not None:
        print(imagination_table(results.imagination))
    print(f"results: {out / 'results.json'}\nreport:  {out / 'report.html'}")
    return 0
