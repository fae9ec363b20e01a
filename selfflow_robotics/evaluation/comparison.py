"""Several policies side by side in several tasks, with a progress bar and files."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from selfflow_robotics.data.action_spec import RT1_ACTIONS
from selfflow_robotics.data.episode import Dataset, Episode
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.envs import LATE_GOALS, TASKS
from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.envs.names import short_name, task_ids
from selfflow_robotics.evaluation.config import Comparison
from selfflow_robotics.evaluation.episodes import read_long_enough, require_actions, require_fit
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
from selfflow_robotics.evaluation.trial import try_policy, try_task
from selfflow_robotics.evaluation.video.psnr import imagination
from selfflow_robotics.machine.precision import computing, resolve
from selfflow_robotics.planning.config import suited
from selfflow_robotics.policies.build import (
    POLICIES,
    check_policies,
    make_policy,
    needs_world_model,
)
from selfflow_robotics.storage.model_folder import find_model, weights_checksum
from selfflow_robotics.storage.typed_yaml import show
from selfflow_robotics.storage.whole_file import require_writable
from selfflow_robotics.world_model.priors import give_prior
from selfflow_robotics.world_model.world_model import WorldModel

_OURS = {*TASKS, *LATE_GOALS}
_MOST_EPISODES = 64  # held-out ones that are read
_TOLD_ELSEWHERE = {
    *("world_model", "tasks", "policies", "episodes", "seed", "num_envs", "image_size"),
    *("out", "json", "videos"),
}


def ready(
    comparison: Comparison,
    model_name: str,
    source: Dataset | None = None,
    device: str = "cpu",
) -> tuple[WorldModel | None, list[Episode]]:
    """The world model of a comparison, and held-out episodes to judge what it imagines by.

    Args:
        model_name: shipped name, folder, or org/name of the Hub; read when a policy or `source`
            needs it.
        source: data set of these episodes; none without it.

    Raises:
        ValueError: an unknown task or policy, a setting that makes no sense, or a data set of
            another robot or of too few frames.
    """
    tasks, policies = task_ids(comparison.tasks), comparison.policies
    check_policies(policies, tasks)
    if comparison.mapping != EnvMapping() and _OURS.issuperset(tasks):
        raise ValueError(
            "mapping.* says how other people's tasks are read, and all of these are this project's;"
            " leave it out (a data set's is data.mapping)"
        )
    if comparison.places != "usual" and not _OURS.issuperset(tasks):
        raise ValueError(
            f"places={comparison.places} is known of this project's tasks alone; leave it out, or "
            "other people's tasks"
        )
    if source is not None:
        require_actions(source)
    elif not needs_world_model(policies):
        return None, []
    world_model = WorldModel.from_pretrained(model_name, device)
    if comparison.prior:
        give_prior(world_model, model_name, comparison.prior)
    for name in [name for name in policies if name in POLICIES and POLICIES[name].imagines]:
        make_policy(name, world_model, None, comparison.planner)  # which checks its settings
        for task in [task for task in tasks if task in LATE_GOALS]:
            try_policy(name, task, world_model, comparison.planner)
    if source is None:
        return world_model, []
    require_fit(source, world_model, model_name)
    held_out = OneSide(source, "held-out").index
    return world_model, read_long_enough(
        source, held_out, comparison.horizon, _MOST_EPISODES, world_model.image_fit
    )


def compare(
    comparison: Comparison,
    world_model: WorldModel | None,
    model_name: str,
    out: Path,
    options: Mapping[str, str] | None = None,
    record: int | None = None,
) -> Results:
    """Run every policy in every task; out/results.json grows after each.

    Args:
        world_model: for the policies that need one.
        model_name: its name, for the files.
        out: folder of results.json.
        options: other settings that results.json is to hold.
        record: episodes a task and policy whose frames are kept; None: 4, or `videos` if more.

    Raises:
        ValueError: the world model's actions mean something else than those of our tasks, or
            another task does not fit the mapping: before any episode is played.
    """
    tasks, policies = task_ids(comparison.tasks), tuple(dict.fromkeys(comparison.policies))
    seeds = tuple(range(comparison.seed, comparison.seed + comparison.episodes))
    image_size = comparison.image_size or (world_model.camera_size if world_model else (64, 80))
    options = dict(options or {})
    if options and world_model is not None:  # what was left open, as it was settled
        planner = asdict(suited(comparison.planner, world_model))
        options |= {f"planner.{key}": show(value) for key, value in planner.items()}
    settings = Settings(
        world_model=model_name if world_model is not None else "",
        tasks=tasks,
        policies=policies,
        seeds=seeds,
        num_envs=comparison.num_envs,
        image_size=image_size if _OURS.intersection(tasks) else None,
        options=options,
    )
    _try_tasks(settings, world_model, model_name, comparison.mapping)
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
    # Into a file, a line every ten seconds is enough.
    interval = 0.2 if sys.stderr.isatty() else 10.0
    total = len(tasks) * len(policies) * len(seeds)
    with tqdm(total=total, unit="episode", desc="evaluate", mininterval=interval) as bar:
        for task, policy in itertools.product(tasks, policies):
            ours = task in _OURS
            with computing(comparison.precision, device):
                found = evaluate(
                    task,
                    partial(make_policy, policy, world_model, config=comparison.planner),
                    seeds,
                    comparison.num_envs,
                    image_size if ours else None,
                    mapping=None if ours else comparison.mapping,
                    env_options=_made_with(comparison) if ours else None,
                    record=record or max(comparison.videos, 4),
                    on_decision=_showing(bar, f"{short_name(task)} {policy}"),
                    on_episode=lambda _: bar.update(1),
                )
            bar.update(len(found.solved_at_start))
            if found.doubt is not None:
                bar.write(found.doubt, file=sys.stderr)
            results = replace(results, tasks=(*results.tasks, found))
            write_results(out / "results.json", results)
    return results


def _made_with(comparison: Comparison) -> dict[str, str]:
    """Options of this project's tasks."""
    return {"robot": comparison.robot, "places": comparison.places}


def _try_tasks(
    settings: Settings, world_model: WorldModel | None, model_name: str, mapping: EnvMapping
) -> None:
    """Refuse what cannot be played, before anything is."""
    spec = RT1_ACTIONS if world_model is None else world_model.step_spec
    states = None if world_model is None else world_model.state_spec
    foreign = [task for task in settings.tasks if task not in _OURS]
    if world_model is not None and len(foreign) < len(settings.tasks):
        world_model.step_spec.require_match(RT1_ACTIONS, model_name, "the tasks of this project")
    for task in foreign:
        seen = try_task(task, mapping, spec.size, None if states is None else states.size)
        if world_model is not None and needs_world_model(settings.policies):
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


def options_of(config: Any) -> dict[str, str]:
    """A command's keys that results.json does not hold elsewhere, as text: `planner.horizon`."""

    def flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from flat(value, f"{prefix}{key}.")
            elif isinstance(value, (list, tuple)):
                yield prefix + key, f"[{','.join(map(show, value))}]"
            else:
                yield prefix + key, show(value)

    kept = {key: value for key, value in asdict(config).items() if key not in _TOLD_ELSEWHERE}
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
