"""Runs killed at random moments, then run again: the same files come out, and nothing else is left.

    python benchmarks/kills.py [--json] [--kills 20] [--seed 0] [--only TARGET ...]

Each command is run once undisturbed, then `--kills` times ended by SIGKILL and as often by SIGTERM
at a random moment, and run again after each. Counted by command:

- same: the second run ended well and its folder has the same files with the same bytes (of
  results.json all but times; of curves, report.html and .metadata, that they are there)
- partial: names that the undisturbed run does not leave
- worker: processes of the killed run that were alive 10 s later
- exception: either run showed a traceback, or SIGTERM led to another exit status than 0 or 143
- late: a run that SIGTERM had not ended within 30 s

Commands run in a fork of a process that has imported everything: moments fall into the work.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import selfflow_robotics.envs
import selfflow_robotics.policies.experts
import torch

import selfflow_robotics.collecting.collect
import selfflow_robotics.evaluation.comparison
import selfflow_robotics.evaluation.report
import selfflow_robotics.training.trainer  # noqa: F401  (imported before any fork)
from selfflow_robotics.cli.main import main as selfflow

COUNTS = ("runs", "same", "other", "failed", "partial", "worker", "exception", "late")
TIMES = re.compile(r"seconds|planning|times|duration|revision")


@dataclass(frozen=True)
class Target:
    """A command to kill."""

    words: str  # {inputs} and {out} stand for the folders of sound inputs and of what is written
    after: str | None = None  # a glob below out: it is killed after such a file is there

    def command(self, inputs: Path, out: Path) -> list[str]:
        """The words after `selfflow`."""
        return [word.format(inputs=inputs, out=out) for word in self.words.split()]


TRAINER = (
    "image_size=[32,48] model=tiny trainer.batch_size=2 trainer.frames=3 trainer.save_every=10"
)
TRAINING = f"data={{inputs}}/data tokenizer={{inputs}}/tokenizer cache={{inputs}}/latents {TRAINER}"
TARGETS = {
    "collect": Target(
        "collect out={out}/data tasks=CloseDrawer episodes=4 workers=2 random_steps=8 "
        "image_size=[32,48]"
    ),
    "data convert rlds": Target(
        "data convert rlds data={inputs}/tfrecord out={out}/data workers=2"
    ),
    "data export lerobot": Target("data export lerobot data={inputs}/data out={out}/data"),
    "data encode": Target(
        "data encode data={inputs}/data tokenizer={inputs}/tokenizer out={out}/latents part=4 "
        "workers=1 image_size=[32,48]"
    ),
    "tokenizer": Target(
        "tokenizer out={out}/tokenizer data={inputs}/data image_size=[32,48] steps=60"
    ),
    "pretrain": Target(
        "pretrain out={out}/model tokenizer={inputs}/tokenizer physics_episodes=4 "
        f"trainer.steps=40 {TRAINER}"
    ),
    "finetune, training": Target(
        f"finetune out={{out}}/model trainer.steps=60 prior.steps=5 {TRAINING}"
    ),
    "finetune, the prior's fit": Target(
        f"finetune out={{out}}/model trainer.steps=10 prior.steps=300 {TRAINING}",
        "model/training/checkpoints/step-00000010/.metadata",
    ),
    "finetune, the final write": Target(
        f"finetune out={{out}}/model trainer.steps=10 prior.steps=5 {TRAINING}",
        "model/training/prior.pt",
    ),
    "evaluate": Target(
        "evaluate out={out}/evaluation tasks=CloseDrawer policies=expert,zero episodes=2 "
        "num_envs=2 image_size=[32,48]"
    ),
}


def make_inputs(folder: Path) -> None:
    """What the commands read."""
    sizes = "tasks=CloseDrawer episodes=12 random_steps=8 image_size=[32,48]"
    for words in (
        f"collect out={folder}/data {sizes}",
        f"collect out={folder}/tfrecord container=tfrecord {sizes}",
        f"tokenizer out={folder}/tokenizer data={folder}/data image_size=[32,48] steps=2",
        f"data encode out={folder}/latents data={folder}/data tokenizer={folder}/tokenizer "
        "image_size=[32,48]",
    ):
        status, said = ended(start(words.split(), folder / "said"), folder / "said")
        if status:
            raise RuntimeError(f"selfflow {words} ended with {status}: {said[-800:]}")


def start(words: Sequence[str], said: Path) -> int:
    """Run a command in a child that leads a session of its own; its process number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    status = 70
    try:
        status = selfflow(words)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        import multiprocessing.util

        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(child: int, said: Path, limit: float = 600.0) -> tuple[int | None, str]:
    """Exit status (that of a signal is negative, None: still running) and what was said."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")
        time.sleep(0.005)
    return None, said.read_text(errors="replace")


def session(leader: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def contents(folder: Path) -> dict[str, str]:
    """A digest of each file, by its place."""
    return {
        re.sub(r"events\.out\.tfevents.*", "events", str(path.relative_to(folder))): _digest(
            path, folder
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _digest(path: Path, folder: Path) -> str:
    if "tfevents" in path.name or path.name in ("report.html", ".metadata"):
        return ""
    content = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
    if path.name == "results.json":
        content = json.dumps(_without_times(json.loads(content)), sort_keys=True).encode()
    return blake2b(content, digest_size=8).hexdigest()


def _without_times(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _without_times(v) for k, v in tree.items() if not TIMES.search(k)}
    return [_without_times(v) for v in tree] if isinstance(tree, list) else tree


def undisturbed(target: Target, inputs: Path, folder: Path) -> tuple[float, dict[str, str]]:
    """Seconds from the moment kills begin to the end, and the files that are left."""
    out, said = folder / "out", folder / "said"
    out.mkdir()
    began = time.monotonic()
    child = start(target.command(inputs, out), said)
    if target.after is not None:
        _wait_for(target.after, out, child)
        began = time.monotonic()
    status, text = ended(child, said)
    if status:
        raise RuntimeError(
            f"{' '.join(target.command(inputs, out))} ended with {status}: {text[-800:]}"
        )
    found = contents(out)
    shutil.rmtree(out)
    return time.monotonic() - began, found


def _wait_for(pattern: str, out: Path, child: int) -> None:
    """Until such a file is there, or the child has ended."""
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not list(out.glob(pattern)) and os.waitid(os.P_PID, child, over) is None:
        time.sleep(0.001)


def kill_once(
    target: Target, number: int, delay: float, right: dict[str, str], inputs: Path, folder: Path
) -> Counter[str]:
    """Kill a run after `delay` seconds, run again, compare."""
    out, said = folder / "out", folder / "said"
    out.mkdir()
    words = target.command(inputs, out)
    child = start(words, said)
    if target.after is not None:
        _wait_for(target.after, out, child)
    time.sleep(delay)
    os.kill(child, number)
    status, text = ended(child, said, 30.0)
    told = "Traceback" in text or (status or 0) not in (0, 143, -number)
    counts = Counter(runs=1, late=int(status is None), exception=int(told))
    if status is None:
        os.kill(child, signal.SIGKILL)
        ended(child, said)
    end = time.monotonic() + 10
    while session(child) and time.monotonic() < end:
        time.sleep(0.05)
    left = session(child)
    counts["worker"] = len(left)
    for process in left:
        os.kill(process, signal.SIGKILL)
    whole = contents(out) == right
    status, again = ended(start(words, said), said)
    found = contents(out)
    counts["exception"] += "Traceback" in again
    # What was there whole already is refused to be written over.
    counts["failed"] = int(status != 0 and not (whole and "exists" in again))
    counts["partial"] = len(found.keys() - right.keys())
    counts["same"] = int(found == right)
    counts["other"] = int(found != right)
    if counts["failed"] or counts["other"] or counts["exception"]:
        differing = sorted(k for k in found.keys() | right.keys() if found.get(k) != right.get(k))
        print(f"{words[0]}, signal {number} after {delay:.2f} s: {differing[:5]}", file=sys.stderr)
        print(f"killed: {text[-400:]}\nagain: {again[-400:]}", file=sys.stderr)
    shutil.rmtree(out)
    return counts


def measure(name: str, inputs: Path, kills: int, seed: int) -> dict[str, dict[str, int]]:
    """Counts of a target, by signal."""
    target, rng = TARGETS[name], random.Random(f"{name} {seed}")
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        seconds, right = undisturbed(target, inputs, folder)
        counted: dict[str, dict[str, int]] = {}
        for number in (signal.SIGKILL, signal.SIGTERM):
            runs = (rng.uniform(0, seconds) for _ in range(kills))
            once = functools.partial(
                kill_once, target, number, right=right, inputs=inputs, folder=folder
            )
            total = sum((once(delay) for delay in runs), Counter[str]())
            counted[number.name] = {key: total[key] for key in COUNTS}
        return counted
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Kill, run again and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--kills", type=int, default=20, help="by each signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    inputs = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        make_inputs(inputs)
        found = {name: measure(name, inputs, asked.kills, asked.seed) for name in asked.only}
    finally:
        shutil.rmtree(inputs, ignore_errors=True)
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    print(f"{'':36}" + "".join(f"{key:>10}" for key in COUNTS))
    for name, counted in found.items():
        for number, row in counted.items():
            print(f"{name:27} {number:8}" + "".join(f"{row[key]:10}" for key in COUNTS))


if __name__ == "__main__":
    main()
