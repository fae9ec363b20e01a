"""`selfflow evaluate`: success of policies in tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfflow_robotics.cli.dataset import DataConfig, one_data_set
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.machine.precision import Precision, use_threads
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.registry import import_own

from ..storage.keys import key

_MOST_EPISODES = 64  # held-out ones that are read
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
class Config:
    """Keys of `selfflow evaluate`."""

    world_model: str = key("shipped name, folder, or org/name of the Hub", "tabletop-small")
    tasks: tuple[str, ...] = key("as PickCokeCan, or any Gymnasium id; all five when empty", ())
    policies: tuple[str, ...] = key(
        "which of planner, prior, joint, expert, random, zero, and oracle: the "
        "planner with the simulator for its world model; or module:Class of your own",
        ("planner", "prior", "joint", "expert", "random", "zero"),
    )
    episodes: int = key("episodes a task and policy", 50, least=1)
    seed: int = key("of the first episode; then one more each", 10_000)
    num_envs: int = key("environments at a time", 10, least=1)
    out: Path = key("folder to write", Path("outputs/evaluate"))
    image_size: tuple[int, int] | None = key(
        "height and width drawn; the world model's when null", None, least=1
    )
    robot: Literal["primitive", "menagerie"] = key("body of the robot", "primitive")
    videos: int = key("videos a task and policy in the report", 1)
    data: DataConfig = field(default_factory=DataConfig)
    horizon: int = key("steps ahead for imagined frames", 4, least=1)
    device: str = key("of the world model: cpu, cuda", "cpu")
    threads: int | None = key("of the processor, for the world model; all when null", None, least=1)
    precision: Precision = key("numbers to compute with; auto: bf16 where it is faster", "auto")
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    imports: tuple[str, ...] = key(
        "modules that register other people's tasks; the working folder's come first", ()
    )
    mapping: EnvMapping = field(default_factory=EnvMapping)


def run(config: Config) -> int:
    """Evaluate; returns 0.

    Raises:
        ValueError: an unknown task or policy, or a number that makes no sense.
    """
    from selfflow_robotics.data.formats import open_dataset
    from selfflow_robotics.data.split import OneSide
    from selfflow_robotics.envs import TASKS
    from selfflow_robotics.envs.names import task_ids
    from selfflow_robotics.evaluation.comparison import (
        Comparison,
        compare,
        imagination_table,
        judge_and_report,
        options_of,
        table,
    )
    from selfflow_robotics.evaluation.episodes import (
        read_long_enough,
        require_actions,
        require_fit,
    )
    from selfflow_robotics.policies.build import (
        IMAGINING,
        check_policies,
        imagining_policy,
        needs_world_model,
    )
    from selfflow_robotics.world_model.world_model import WorldModel

    use_threads(config.threads)
    for name in config.imports:
        import_own(name, "imports")
    tasks = task_ids(config.tasks)
    check_policies(config.policies, tasks)
    if config.mapping != EnvMapping() and set(tasks) <= set(TASKS):
        raise ValueError(
            "mapping.* says how other people's tasks are read, and all of these are this project's;"
            " leave it out (a data set's is data.mapping)"
        )
    source, data = None, config.data
    if data.path:
        source = require_actions(open_dataset(one_data_set(data.path), data.mapping, data.split))
    world_model, episodes = None, []
    if source is not None or needs_world_model(config.policies):
        world_model = WorldModel.from_pretrained(config.world_model, config.device)
        for name in sorted(IMAGINING & set(config.policies)):
            imagining_policy(name, world_model, config.planner)  # its settings are checked here
        if source is not None:
            require_fit(source, world_model, config.world_model)
            numbers = OneSide(source, "held-out").index
            episodes = read_long_enough(
                source, numbers, config.horizon, _MOST_EPISODES, world_model.image_fit
            )
    results = compare(
        Comparison(
            tasks=tasks,
            policies=tuple(dict.fromkeys(config.policies)),
            seeds=tuple(range(config.seed, config.seed + config.episodes)),
            num_envs=config.num_envs,
            image_size=config.image_size or (world_model.camera_size if world_model else (64, 80)),
            planner=config.planner,
            record=max(config.videos, 4),
            robot=config.robot,
            precision=config.precision,
            options=options_of(config, _TOLD_ELSEWHERE),
        ),
        world_model,
        config.world_model,
        config.out,
        config.mapping,
    )
    print(table(results.tasks))
    results = judge_and_report(
        results, world_model, config.out, config.horizon, episodes, videos=config.videos
    )
    if results.imagination is not None:
        print(imagination_table(results.imagination))
    print(f"results: {config.out / 'results.json'}\nreport:  {config.out / 'report.html'}")
    return 0
