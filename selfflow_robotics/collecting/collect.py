"""Episodes of the tasks, played by experts and others, as an RT-1 data set.

Every episode has its own seed, so the data do not depend on the number of workers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from selfflow_robotics.collecting.assignments import assign
from selfflow_robotics.collecting.workers import Playing, Recorded, record_all
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
    perturbed: float = 0.45,
    intervened: float = 0.0,
    random: float = 0.25,
    playing: Playing = Playing(),
    container: Literal["array_record", "tfrecord"] = "array_record",
    workers: int | None = None,
) -> dict[tuple[str, str], Tally]:
    """Record and write; returns what was recorded, by task and player.

    Args:
        out: folder to write; it must not exist.
        tasks, episodes, episodes_of, perturbed, intervened, random: see :func:`assign`.
        workers: processes; one a CPU when None, 0: this one.

    Raises:
        FileExistsError: the folder exists.
        ValueError: an unknown task, or shares or numbers that make no sense.
    """
    shares = {"perturbed": perturbed, "intervened": intervened, "random": random}
    assignments = assign(tasks, episodes, episodes_of, **shares, seed=playing.seed)
    if intervened and playing.world_model is None:
        raise ValueError(
            f"intervened={intervened} needs a policy that makes mistakes; add "
            "world_model=NAME_OR_FOLDER"
        )
    if playing.random_steps < 1:
        raise ValueError(
            f"{playing.random_steps} for random_steps makes no data; give a number from 1"
        )
    with Rt1Writer(out, playing.image_size, container) as writer:
        begin = time.monotonic()
        steps = 0
        tallies: dict[tuple[str, str], Tally] = {}
        bar = tqdm(total=len(assignments), unit="episode", desc="collect")
        for recorded in record_all(assignments, playing, workers):
            writer.add_record(
                recorded.record, recorded.actions, recorded.states, recorded.demonstrated
            )
            steps += len(recorded.actions)
            key = (recorded.assignment.task, recorded.assignment.source)
            tallies[key] = tallies.get(key, Tally()).with_one(recorded)
            bar.set_postfix_str(f"{steps / (time.monotonic() - begin):.0f} steps/s", refresh=False)
            bar.update()
        bar.close()
        seconds, size = time.monotonic() - begin, writer.num_bytes
    print(f"{'task':32} {'who':10} {'episodes':>8} {'success':>8} {'steps':>8}")
    for (task, source), tally in sorted(tallies.items()):
        print(f"{task:32} {source:10} {tally.episodes:8} {tally.successes:8} {tally.steps:8}")
    print(
        f"{len(assignments)} episodes, {steps} steps in {seconds:.0f} s "
        f"({steps / seconds:.0f} steps/s), {size / steps:.0f} bytes a step; wrote {out}"
    )
    return tallies
