"""Episodes of the tasks, played by experts and others, as an RT-1 data set.

Every episode has its own seed, so the data do not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from selfflow_robotics.collecting.assignments import Assignment, assign
from selfflow_robotics.collecting.behaviours import WITH_NOVICE
from selfflow_robotics.collecting.labels import Labels, check_labels, counted, share_asked
from selfflow_robotics.collecting.workers import Playing, Recorded, environment, record_all
from selfflow_robotics.data.rt1.writer import Rt1Writer


@dataclass(frozen=True)
class Tally:
    """What was recorded of one task by one kind of player."""

    episodes: int = 0
    successes: int = 0
    steps: int = 0

    def with_one(self, one: Recorded) -> Tally:
        """This and one episode more."""
        steps = self.steps + len(one.actions)
        return Tally(self.episodes + 1, self.successes + one.success, steps)


def collect(
    out: Path,
    tasks: Sequence[str] = (),
    episodes: int = 200,
    episodes_of: Mapping[str, int] | None = None,
    *,
    playing: Playing = Playing(),
    container: Literal["array_record", "tfrecord"] = "array_record",
    workers: int | None = None,
    **shares: float,
) -> dict[tuple[str, str], Tally]:
    """Record and write; returns what was recorded, by task and player.

    Args:
        out: folder to write; it must not exist.
        tasks, episodes, episodes_of, shares: see :func:`assign`.
        workers: processes; one a CPU when None, 0: this one.

    Raises:
        FileExistsError: the folder exists.
        ValueError: an unknown task or player, shares or numbers that make no sense, or labels
            that nobody can give.
    """
    assignments = assign(tasks, episodes, episodes_of, seed=playing.seed, **shares)
    _require_novices([name for name in WITH_NOVICE if shares.get(name)], playing)
    if playing.random_steps < 1:
        raise ValueError(
            f"{playing.random_steps} for random_steps makes no data; give a number from 1"
        )
    labelled: list[tuple[Assignment, Labels]] = []
    with Rt1Writer(out, playing.image_size, container) as writer:
        playing = _ready_to_label(assignments, playing)
        begin = time.monotonic()
        steps = 0
        tallies: dict[tuple[str, str], Tally] = {}
        bar = tqdm(total=len(assignments), unit="episode", desc="collect")
        for recorded in record_all(assignments, playing, workers):
            writer.add_record(
                recorded.record, recorded.actions, recorded.states, recorded.demonstrated
            )
            if recorded.labels is not None:
                labelled.append((recorded.assignment, recorded.labels))
            steps += len(recorded.actions)
            key = (recorded.assignment.task, recorded.assignment.source)
            tallies[key] = tallies.get(key, Tally()).with_one(recorded)
            bar.set_postfix_str(f"{steps / (time.monotonic() - begin):.0f} steps/s", refresh=False)
            bar.update()
        bar.close()
        if labelled:
            print(counted([labels for _, labels in labelled]))
        if playing.labels == "teacher":
            from selfflow_robotics.collecting.teacher import taught

            labelled = taught(labelled, playing.seed)
        for assignment, labels in labelled:
            writer.label(assignment.index, labels.left)
        seconds, size = time.monotonic() - begin, writer.num_bytes
    print(f"{'task':32} {'who':10} {'episodes':>8} {'success':>8} {'steps':>8}")
    for (task, source), tally in sorted(tallies.items()):
        print(f"{task:32} {source:10} {tally.episodes:8} {tally.successes:8} {tally.steps:8}")
    print(
        f"{len(assignments)} episodes, {steps} steps in {seconds:.0f} s "
        f"({steps / seconds:.0f} steps/s), {size / steps:.0f} bytes a step; wrote {out}"
    )
    return tallies


def _require_novices(names: Sequence[str], playing: Playing) -> None:
    """Refuse players that nobody can make, before anybody plays."""
    if names and playing.world_model is None:
        raise ValueError(
            f"{' and '.join(names)} to play need a policy that makes mistakes; add "
            "world_model=NAME_OR_FOLDER"
        )
    if names:
        from selfflow_robotics.collecting.novices import require_novices

        require_novices(names, str(playing.world_model), playing.planner)


def _ready_to_label(assignments: Sequence[Assignment], playing: Playing) -> Playing:
    """With which share of each task's frames are played out, once that is known to work.

    Raises:
        ValueError: labels are wanted that nobody can give.
    """
    if playing.labels == "none":
        return playing
    episodes = Counter(assignment.task for assignment in assignments)
    envs = [environment(task, playing.image_size, playing.robot) for task in episodes]
    check_labels(envs, playing.labels, playing.seed)
    if playing.labels == "expert":
        return playing
    return replace(playing, asked={task: share_asked(n) for task, n in episodes.items()})
