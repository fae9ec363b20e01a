"""Several policies side by side in several tasks, with a progress bar and files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.envs import TASKS
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.envs.names import short_name
from selfflow_robotics.evaluation.evaluate import evaluate
from selfflow_robotics.evaluation.report import episode_videos, write_report
from selfflow_robotics.evaluation.results import (
    Results,
    Settings,
    TaskResult,
    git_revision,
    versions,
    write_results,
)
from selfflow_robotics.evaluation.trial import try_task
from selfflow_robotics.evaluation.video.psnr import Imagination, imagination
from selfflow_robotics.machine.precision import Precision, computing, resolve
from selfflow_robotics.planning.config import PlannerConfig
from selfflow_robotics.policies.build import make_policy, needs_world_model
from selfflow_robotics.storage.model_folder import find_model, weights_checksum
from selfflow_robotics.storage.typed_yaml import show
from selfflow_robotics.storage.whole_file import require_writable
from selfflow_robotics.world_model.world_model import WorldModel


@dataclass(frozen=True)
class Comparison:
    """What to run."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    num_envs: int
    image_size: tuple[int, int]  # of this project's tasks
    planner: PlannerConfig
    record: int  # episodes a task and policy whose frames are kept
    robot: str = "primitive"
    precision: Precision = "auto"
    options: Mapping[str, str] = field(default_factory=dict)  # the command's other keys


def compare(
    comparison: Comparison,
    world_model: WorldModel | None,
    model_name: str,
    out: Path,
    mapping: EnvMapping | None = None,
) -> Results:
    """Run every policy in every task; out/results.json grows after each.

    Args:
        world_model: for the policies that need one.
        model_name: its name, for the files.
        out: folder of results.json.
        mapping: of tasks that are not this project's.

    Raises:
        ValueError: the world model's actions mean something else than those of our tasks, or
            another task does not fit the mapping: before any episode is played.
    """
    settings = Settings(
        world_model=model_name if world_model is not None else "",
        tasks=comparison.tasks,
        policies=comparison.policies,
        seeds=comparison.seeds,
        num_envs=comparison.num_envs,
        image_size=comparison.image_size if set(TASKS) & set(comparison.tasks) else None,
        options=comparison.options,
    )
    _try_tasks(comparison, world_model, model_name, mapping or EnvMapping())
    for name in ("results.json", "report.html"):
        require_writable(out / name)
    device = "cpu" if world_model is None else str(world_model.device)
    results = Results(
        settings,
        (),
        versions=versions(),
        revision=git_revision(),
        computing={} if world_model is None else _computing(comparison, device, model_name),
    )
    total = len(comparison.tasks) * len(comparison.policies) * len(comparison.seeds)
    # Into a file, a line every ten seconds is enough.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    with tqdm(total=total, unit="episode", desc="evaluate", mininterval=interval) as bar:
        for task in comparison.tasks:
            ours = task in TASKS
            for policy in comparison.policies:
                made = partial(make_policy, policy, world_model, config=comparison.planner)
                with computing(comparison.precision, device):
                    found = evaluate(
                        task,
                        made,
                        comparison.seeds,
                        comparison.num_envs,
                        comparison.image_size if ours else None,
                        mapping=None if ours else mapping,
                        env_options={"robot": comparison.robot} if ours else None,
                        record=comparison.record,
                        on_decision=_showing(bar, f"{short_name(task)} {policy}"),
                        on_episode=lambda _: bar.update(1),
                    )
                bar.update(len(found.solved_at_start))
                if found.doubt is not None:
                    bar.write(found.doubt, file=sys.stderr)
                results = replace(results, tasks=(*results.tasks, found))
                write_results(out / "results.json", results)
    return results


def _try_tasks(
    comparison: Comparison, world_model: WorldModel | None, model_name: str, mapping: EnvMapping
) -> None:
    """Refuse what cannot be played, before anything is."""
    spec = RT1_ACTIONS if world_model is None else world_model.step_spec
    states = None if world_model is None else world_model.state_spec
    foreign = [task for task in comparison.tasks if task not in TASKS]
    if world_model is not None and len(foreign) < len(comparison.tasks):
        world_model.step_spec.require_match(RT1_ACTIONS, model_name, "the tasks of this project")
    for task in foreign:
        seen = try_task(task, mapping, spec.size, None if states is None else states.size)
        if world_model is not None and needs_world_model(comparison.policies):
            try:
                world_model.config.vocabulary.encode(seen.instruction)
            except ValueError as error:
                raise ValueError(f"task {task}: {error}") from error


def judge_and_report(
    results: Results,
    world_model: WorldModel | None,
    out: Path,
    horizon: int = 4,
    episodes: Sequence[Episode] = (),
    max_clips: int = 256,
    videos: int = 1,
) -> Results:
    """Add how well frames are imagined; write results.json again, and report.html.

    Args:
        world_model: imagines; None leaves that out.
        horizon: steps imagined ahead.
        episodes: to judge by, held out; what was recorded when there are none.
        max_clips: of them, at most.
        videos: a task and policy.
    """
    if world_model is not None:
        episodes = episodes or recorded_episodes(results, horizon)
        if len(episodes) > 1:
            found = imagination(world_model, episodes, horizon, max_clips)
            results = replace(results, imagination=found)
    write_results(out / "results.json", results)
    shown = episode_videos(results.tasks, world_model, horizon, videos)
    write_report(out / "report.html", results, shown)
    return results


def recorded_episodes(results: Results, horizon: int) -> list[Episode]:
    """What was recorded, long enough to imagine in: of the expert, or of all where it did not play.

    Random play and failures are often still scenes, where copying the last frame is perfect.
    """
    experts = [task for task in results.tasks if task.policy == "expert"]
    return [
        recording.episode
        for task in experts or results.tasks
        for recording in task.recorded
        if len(recording.episode) > horizon
    ]


def table(tasks: Sequence[TaskResult]) -> str:
    """Success per task and policy, as text: `12/50 (14-37%)`."""
    policies = list(dict.fromkeys(task.policy for task in tasks))
    names = list(dict.fromkeys(task.task for task in tasks))
    cells = {
        (t.task, t.policy): f"{t.successes}/{len(t.episodes)} "
        f"({t.interval.low * 100:.0f}-{t.interval.high * 100:.0f}%)"
        for t in tasks
    }
    rows = [["task", *policies]]
    rows += [[short_name(name), *(cells.get((name, p), "-") for p in policies)] for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def imagination_table(found: Imagination) -> str:
    """PSNR per step ahead, as text."""
    lines = [
        f"imagined frames at {found.height}x{found.width}, "
        f"{found.clips} clips of {found.episodes} episodes, PSNR in dB:",
        "  steps ahead       " + "".join(f"{h:>8}" for h in range(1, found.horizon + 1)),
    ]
    for name, values in (
        ("true actions", found.psnr_H),
        ("copy of last frame", found.copy_psnr_H),
        ("of the mean error", found.pooled_psnr_H),
        ("copy, the same", found.pooled_copy_psnr_H),
        ("shuffled actions", found.shuffled_psnr_H),
        ("error ratio", found.shuffled_error_ratio_H),
    ):
        lines.append(f"  {name:18}" + "".join(f"{value:8.2f}" for value in values))
    return "\n".join(lines)


def options_of(config: Any, told_elsewhere: Container[str]) -> dict[str, str]:
    """Every key of a command's configuration as text, as `planner.horizon` and `mapping.take`."""

    def flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            elif isinstance(value, (list, tuple)):
                yield prefix + key, f"[{','.join(map(show, value))}]"
            else:
                yield prefix + key, show(value)

    kept = {key: value for key, value in asdict(config).items() if key not in told_elsewhere}
    return dict(flat(kept, ""))


def _computing(comparison: Comparison, device: str, model_name: str) -> dict[str, str]:
    """With what the world model computes."""
    return {
        "device": device if device == "cpu" else f"{device}, {torch.cuda.get_device_name(device)}",
        "threads": str(torch.get_num_threads()),
        "precision": resolve(comparison.precision, device),
        "weights_sha256": weights_checksum(find_model(model_name)),
    }


def _showing(bar: Any, label: str) -> Callable[[int], None]:
    """What shows on the bar, after every step of so many rows, how many were taken."""
    steps = 0

    def step(rows: int) -> None:
        nonlocal steps
        steps += rows
        bar.set_postfix_str(f"{label} {steps} steps", refresh=False)
        bar.update(0)

    return step
