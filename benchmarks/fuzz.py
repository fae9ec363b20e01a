"""Damaged inputs of every kind that is read: what is wrong is said, and nothing else happens.

    python benchmarks/fuzz.py [--json] [--inputs 5000] [--seed 0] [--only READER ...] [--show]

Every input is a small sound one of which one file is spoilt: bytes flipped, cut off, zeroed, put in
or moved; in JSON also values of other types, of other sizes, not finite, entries gone or too many.
It is read whole in a process of its own. Counted by reader:

- read: everything was read, all numbers finite
- altered: other weights, latents or states of training were read than had been written
- refused: a ValueError, an OSError or a RuntimeError of one sentence that names the file
- nameless: such an error that names no file
- traceback: another exception, which a command would show with its traceback
- not finite: numbers were read that are not finite, without a word
- memory: more than four times the file was taken beyond what the sound input takes (and 48 MiB)
- hang: no end after 20 s of the processor
- crash: outside software ended the process
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from fuzz_readers import READERS, Reader, make_inputs

from selfflow_robotics.data.rlds.tfrecord import TFRecords, TFRecordWriter

OUTCOMES = ("read", "refused", "nameless", "traceback", "not finite", "altered", "memory", "hang",
            "crash")  # fmt: skip
FAULTS = OUTCOMES[2:]
SPARE = 48 * 2**20
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 2**40, 2**63, -(2**63), 1e308, float("inf"), float("nan"), "", "x",
    "../outside", "/outside", "x" * 10_000, [], {}, [[]], [None], {"x": 1}, [0.0] * 1000,
)  # fmt: skip


def spoilt(content: bytes, is_json: bool, rng: random.Random) -> bytes:
    """The content of a file, changed."""
    if is_json and rng.random() < 0.7:
        return json.dumps(_spoilt_tree(json.loads(content), rng)).encode()
    size = len(content)
    at, length = rng.randrange(size), rng.choice((1, 2, 4, 8, 64, 1024))
    changed = bytearray(content)
    match rng.choice(("flip", "flip", "bits", "cut", "zero", "insert", "move", "ones")):
        case "flip":
            for _ in range(rng.choice((1, 1, 4, 32))):
                changed[rng.randrange(size)] = rng.randrange(256)
        case "bits":
            changed[at] ^= 1 << rng.randrange(8)
        case "cut":
            del changed[at:]
        case "zero":
            changed[at : at + length] = bytes(len(changed[at : at + length]))
        case "ones":
            changed[at : at + length] = b"\xff" * len(changed[at : at + length])
        case "insert":
            changed[at:at] = rng.randbytes(length)
        case _:
            other = rng.randrange(size)
            changed[at : at + length] = content[other : other + length]
    return bytes(changed)


def _spoil_record(path: Path, rng: random.Random) -> None:
    """Change one record of a TFRecord file, and store it with its right checksum."""
    stored = TFRecords([path])
    records = [stored[number] for number in range(len(stored))]
    number = rng.randrange(len(records))
    records[number] = spoilt(records[number], False, rng)
    writer = TFRecordWriter(path)
    for record in records:
        writer.write(record)
    writer.close()


def _spoilt_tree(tree: Any, rng: random.Random) -> Any:
    """JSON of which one entry is changed, gone or new."""
    places = list(_places(tree))
    if not places:
        return rng.choice(ODD)
    holder, key = rng.choice(places)
    match rng.choice(("odd", "odd", "odd", "gone", "new", "other")):
        case "odd":
            holder[key] = rng.choice(ODD)
        case "gone":
            del holder[key]
        case "new" if isinstance(holder, list):
            holder.append(rng.choice(ODD))
        case "new":
            holder["another"] = rng.choice(ODD)
        case _:
            other, name = rng.choice(places)
            if name in other if isinstance(other, dict) else name < len(other):
                holder[key] = json.loads(json.dumps(other[name]))
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    )
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def _read(reader: Reader, folder: Path, names: tuple[str, ...]) -> tuple[str, str]:
    """In a child: read all; the outcome, and what was said or a digest of what was read."""
    digest = blake2b(digest_size=8)
    try:
        for value in reader.read(folder):
            if isinstance(value, torch.Tensor):
                value = value.detach().float().numpy()
            if not isinstance(value, np.ndarray):
                continue
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                return "not finite", ""
            if reader.kept:
                digest.update(value.tobytes())
    except MemoryError as error:
        return "memory", repr(error)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        text = str(error)
        if "can't allocate memory" in text:
            return "memory", text
        named = any(name in text for name in names)
        return ("refused" if named and "\n" not in text else "nameless"), text
    except Exception as error:
        return "traceback", f"{type(error).__module__}.{type(error).__name__}: {error}"
    return "read", digest.hexdigest()


def attempt(reader: Reader, folder: Path, names: tuple[str, ...]) -> tuple[str, str, int]:
    """Read in a process of its own: outcome, what was said, and bytes it grew by."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _be_quiet_and_bounded()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome, text = _read(reader, folder, names)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(theirs, json.dumps([outcome, text[:400], grown * 1024]).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        slow = number in (signal.SIGXCPU, signal.SIGALRM)
        return ("hang" if slow else "crash"), signal.Signals(number).name, 0
    outcome, text, grown = json.loads(said)
    return outcome, text, grown


def _be_quiet_and_bounded() -> None:
    """No output, 20 s of the processor, 200 s in all, 2 GiB of addresses more than now."""
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    room = pages * resource.getpagesize() + 2 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 21))
    signal.setitimer(signal.ITIMER_REAL, 200)


def fuzz(name: str, sound: Path, inputs: int, seed: int, show: bool) -> Counter[str]:
    """Outcomes of so many spoilt inputs of one reader."""
    reader, rng = READERS[name], random.Random(f"{name} {seed}")
    files = [
        path.relative_to(sound / reader.folder)
        for pattern in reader.spoilt
        for path in sorted((sound / reader.folder).glob(pattern))
        if path.is_file() and path.stat().st_size
    ]
    outcome, right, usual = attempt(reader, sound / reader.folder, ())
    if outcome != "read":
        raise RuntimeError(f"{name}: the sound input was not read ({outcome}: {right})")
    counts: Counter[str] = Counter()
    for number in range(inputs):
        chosen = rng.choice(files)
        path = sound / reader.folder / chosen
        content = path.read_bytes()
        if reader.records:
            _spoil_record(path, rng)
        else:
            path.write_bytes(spoilt(content, path.suffix == ".json", rng))
        # The name of the file, or of the folder whose entry it is.
        names = (path.name, str(sound / reader.folder))
        outcome, text, grown = attempt(reader, sound / reader.folder, names)
        if outcome in ("read", "refused") and grown > usual + 4 * len(content) + SPARE:
            outcome, text = "memory", f"{grown / 2**20:.0f} MiB; {text}"
        if outcome == "read" and text != right:
            outcome = "altered"
        path.write_bytes(content)
        counts[outcome] += 1
        if show and outcome in FAULTS:
            print(f"{name}, input {number}, {chosen}: {outcome}: {text}", file=sys.stderr)
    return counts


def _make_and_leave(folder: Path) -> NoReturn:
    try:
        make_inputs(folder)
    except BaseException as error:
        print(error, file=sys.stderr)
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Spoil and read, then print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inputs", type=int, default=5000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--show", action="store_true", help="print what each fault said")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        # In a child: the threads that some readers start do not survive a fork.
        if (child := os.fork()) == 0:
            _make_and_leave(folder)
        if os.waitpid(child, 0)[1]:
            raise RuntimeError("the sound inputs could not be made")
        each = -(-asked.inputs // len(asked.only))
        found = {name: fuzz(name, folder, each, asked.seed, asked.show) for name in asked.only}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = {
        name: {outcome: counts[outcome] for outcome in OUTCOMES} for name, counts in found.items()
    }
    if asked.json:
        print(
            json.dumps({"inputs": each * len(rows), "seed": asked.seed, "readers": rows}, indent=1)
        )
        return
    print(f"{'':22}" + "".join(f"{outcome:>11}" for outcome in OUTCOMES))
    for name, row in rows.items():
        print(f"{name:22}" + "".join(f"{row[outcome]:11}" for outcome in OUTCOMES))


if __name__ == "__main__":
    main()
