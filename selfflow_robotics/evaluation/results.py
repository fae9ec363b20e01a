"""What an evaluation found, in memory and as results.json."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfflow_robotics.data.episode import Episode
from selfflow_robotics.evaluation.intervals import Interval, wilson
from selfflow_robotics.evaluation.paired import Solved, every_two
from selfflow_robotics.evaluation.starts import Starts, doubt
from selfflow_robotics.evaluation.video.psnr import Imagination
from selfflow_robotics.storage.typed_yaml import build
from selfflow_robotics.storage.whole_file import write_whole

FORMAT = 1
_PACKAGES = ("selfflow_robotics", "torch", "numpy", "gymnasium", "mujoco")


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: one seed, from reset to success, failure or the step limit."""

    seed: int
    success: bool  # info["success"] at some step
    steps: int  # environment steps taken; the steps to success where there was one
    subtask: int  # the highest sub-task that info["subtask"] named, 0 when it names none
    planning_seconds: float  # mean over decisions: wall time of the policy's call / rows in it


@dataclass(frozen=True)
class PlanningTime:
    """Wall time of the policy's calls, in seconds; one call decides for all active environments."""

    calls: int
    decisions: int  # actions chosen: the sum over calls of the environments decided for
    mean: float  # of a call
    p95: float  # of a call
    per_decision: float  # total time / decisions


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode as it happened, and what the policy meant to do."""

    seed: int
    episode: Episode  # S steps: one more than were taken, the last action is zero
    plans: tuple[tuple[int, NDArray[np.float32]], ...]  # (step decided at, (H, A)); () for none

    def planned_actions(self, horizon: int) -> NDArray[np.float32] | None:
        """What was planned at the steps 0, H, 2H, …, each for the H steps that follow.

        Returns:
            (S, A), environment units; where a plan is too short, the actions taken. None when the
            policy does not plan.
        """
        if not self.plans or self.episode.actions is None:
            return None
        actions = self.episode.actions.copy()
        for start in range(0, len(actions), horizon):
            decided, plan = max(
                (entry for entry in self.plans if entry[0] <= start), key=lambda entry: entry[0]
            )
            ahead = plan[start - decided :][: min(horizon, len(actions) - start)]
            actions[start : start + len(ahead)] = ahead
        return actions


@dataclass(frozen=True)
class TaskResult:
    """One policy in one task."""

    task: str
    policy: str
    episodes: tuple[EpisodeResult, ...]  # in the order of the seeds
    planning: PlanningTime
    solved_at_start: tuple[int, ...] = ()  # seeds left out: success before the first action
    starts: Starts | None = None  # None in results of older versions
    rate_hz: float | None = None  # steps a second, where the task tells (its render_fps)
    recorded: tuple[Recording, ...] = field(default=(), compare=False, repr=False)  # not stored

    @property
    def successes(self) -> int:
        """Number of successful episodes."""
        return sum(episode.success for episode in self.episodes)

    @property
    def doubt(self) -> str | None:
        """A sentence where the task's seeds do not decide its starts, or not all differ."""
        seeds = len(self.episodes) + len(self.solved_at_start)
        return None if self.starts is None else doubt(self.task, self.starts, seeds)

    @property
    def interval(self) -> Interval:
        """Wilson's 95% interval of the success rate."""
        return wilson(self.successes, len(self.episodes))

    @property
    def steps_to_success(self) -> float | None:
        """Mean number of steps of the successful episodes; None without any."""
        steps = [episode.steps for episode in self.episodes if episode.success]
        return float(np.mean(steps)) if steps else None


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    world_model: str  # name or folder; "" when no policy needs one
    tasks: tuple[str, ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    num_envs: int
    image_size: tuple[int, int] | None  # height, width drawn by tasks of this project; None: none
    options: Mapping[str, str] = field(default_factory=dict)  # all other keys, as text


@dataclass(frozen=True)
class Results:
    """Everything an evaluation measured."""

    settings: Settings
    tasks: tuple[TaskResult, ...]
    imagination: Imagination | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None  # git commit of the code, "-dirty" when changed since
    # Of the world model: device, threads, the precision that was taken, checksum of its weights.
    computing: Mapping[str, str] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on, those that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision() -> str | None:
    """The commit this code was run from, or None outside a git checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.strip() or None


def write_results(path: Path, results: Results) -> None:
    """Write results.json atomically.

    Beside what :func:`read_results` needs, each row holds its success rate with Wilson's interval
    and its mean steps to success, and `paired` compares every two policies on the same seeds, for
    readers without this package.
    """
    document = {
        "format": FORMAT,
        "versions": dict(results.versions),
        "revision": results.revision,
        "computing": dict(results.computing),
        "settings": asdict(results.settings),
        "tasks": [_task_to_json(task) for task in results.tasks],
        "paired": [asdict(pair) for pair in every_two(solved(results.tasks))],
        "imagination": None if results.imagination is None else asdict(results.imagination),
    }
    write_whole(path, json.dumps(document, indent=1) + "\n")


def read_results(path: Path) -> Results:
    """Read what :func:`write_results` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or another version wrote it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'{path} is not readable as JSON ({error}); run "selfflow evaluate" again'
        ) from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise ValueError(
            f"{path} has results of format {found}, this version reads format {FORMAT}; "
            'run "selfflow evaluate" again'
        )
    try:
        tasks = build(document["tasks"], list[dict[str, Any]], "tasks", "it")
        return Results(
            settings=build(document["settings"], Settings, "settings", "it"),
            tasks=tuple(_task_from_json(task, f"tasks[{i}]") for i, task in enumerate(tasks)),
            imagination=build(document["imagination"], Imagination | None, "imagination", "it"),
            versions=build(document["versions"], dict[str, str], "versions", "it"),
            revision=build(document["revision"], str | None, "revision", "it"),
            computing=build(document.get("computing", {}), dict[str, str], "computing", "it"),
        )
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path} lacks or has a field that results should not ({error}); "
            'run "selfflow evaluate" again'
        ) from error


def solved(tasks: Sequence[TaskResult]) -> Solved:
    """Which seeds were solved, to compare policies on."""
    return {
        (task.task, task.policy): {one.seed: one.success for one in task.episodes} for task in tasks
    }


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _not_finite(text)


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _task_to_json(task: TaskResult) -> dict[str, Any]:
    count = len(task.episodes)
    return {
        "task": task.task,
        "policy": task.policy,
        "success": {
            "successes": task.successes,
            "episodes": count,
            "rate": task.successes / count if count else None,
            "wilson_95": [task.interval.low, task.interval.high],
        },
        "steps_to_success": task.steps_to_success,
        "planning_seconds": asdict(task.planning),
        "solved_at_start": list(task.solved_at_start),
        "rate_hz": task.rate_hz,
        "starts": None if task.starts is None else asdict(task.starts),
        "doubt": task.doubt,
        "episodes": [asdict(episode) for episode in task.episodes],
    }


def _task_from_json(values: Mapping[str, Any], name: str) -> TaskResult:
    def field_of(key: str, kind: Any) -> Any:
        return build(values[key], kind, f"{name}.{key}", "it")

    return TaskResult(
        task=field_of("task", str),
        policy=field_of("policy", str),
        episodes=field_of("episodes", tuple[EpisodeResult, ...]),
        planning=field_of("planning_seconds", PlanningTime),
        solved_at_start=field_of("solved_at_start", tuple[int, ...]),
        starts=field_of("starts", Starts | None) if "starts" in values else None,
        rate_hz=field_of("rate_hz", float | None) if "rate_hz" in values else None,
    )
