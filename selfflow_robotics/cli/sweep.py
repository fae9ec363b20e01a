"""A command run once for each combination of values, by Hydra's sweeper and launchers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ..storage.keys import defaults_of
from ..storage.typed_yaml import ConfigError, quoted
from ..training import stopping
from .config import read, typed
from .presets import ROOT, composer, first_line


def sweep(
    command: str,
    schema: type[Any],
    run: Callable[[Any, str], int],
    arguments: Sequence[str],
    config_dir: Path | None = None,
) -> int:
    """Run a command for each combination; 0. Every one is understood before the first begins.

    Args:
        command: its name, as in `selfflow COMMAND`.
        schema: the command's dataclass. What it calls `out` becomes a folder of the jobs' own.
        run: takes a job's configuration and its name, and returns its exit status. Launchers send
            it to other processes.
        arguments: words as of one run; A,B,C, choice(A,B,C) and range(0,3) sweep, and hydra/... and
            hydra.... choose and set the launcher.

    Raises:
        ConfigError: a job, or the launcher, cannot be understood.
        RuntimeError: jobs failed; they are named.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    words = read(command, schema, arguments, config_dir, sweeps=True)
    if not words.sweeps:
        raise ConfigError("-m runs a command for several values of a key, as in seed=0,1,2")
    each = [[f"{key}={value}" for value in values] for key, values in words.sweeps.items()]
    over = [f"{key}={','.join(values)}" for key, values in words.sweeps.items()]
    with (
        composer(defaults_of(schema), words, config_dir, always=True) as composed,
        tempfile.TemporaryDirectory() as scratch,
    ):
        jobs = {
            named(job): _placed(typed(composed(job), schema, command, words.given), named(job))
            for job in itertools.product(*each)
        }
        if len(jobs) < math.prod(map(len, each)):
            raise ConfigError("jobs of the sweep are alike: give each value once")
        first = next(iter(jobs.values()))
        folder = str(first.out.parent if hasattr(first, "out") else scratch)
        over.append(f"hydra.sweep.dir={quoted(folder)}")
        job = functools.partial(_job, command=command, schema=schema, run=run, given=words.given)
        hydra: Any = GlobalHydra.instance().hydra
        try:
            batches = hydra.multirun(ROOT, job, over + words.hydra)
        except HydraException as error:
            raise ConfigError(f"the sweep cannot be started: {first_line(error)}") from error
    ended = [job for batch in batches for job in batch]
    failed = [named(job.overrides) for job in ended if job.return_value]
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(ended)} jobs failed: {'; '.join(failed)}")
    return 0


def named(overrides: Sequence[str]) -> str:
    """A job by what sets it apart, fit for a folder: objective=sra,trainer.seed=1."""
    name = ",".join(sorted(word.lstrip("+") for word in overrides))
    return name.replace("/", "_").translate(dict.fromkeys(map(ord, "'\"\\[]")))


def _job(
    tree: DictConfig,
    command: str,
    schema: type[Any],
    run: Callable[[Any, str], int],
    given: Collection[str],
) -> int:
    from hydra.core.hydra_config import HydraConfig

    # In joblib's workers the method is one that processes started from there do not know.
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)
    name = named(HydraConfig.get().overrides.task)
    print(f"{name}:", flush=True)
    before = len(stopping.heeded)
    status = run(_placed(typed(tree, schema, command, given), name), name)
    if stopping.heeded[before:]:
        raise SystemExit(128 + stopping.heeded[-1])
    return status


def _placed(config: Any, name: str) -> Any:
    """The configuration with a folder, or a file, of the job's own below `out`."""
    if not hasattr(config, "out"):
        return config
    if config.out is None:
        raise ConfigError("add out=FOLDER, below which each job of a sweep writes to its own")
    ending = config.out.suffix if config.out.suffix in (".mp4", ".npz") else ""
    folder = config.out.with_suffix("") if ending else config.out
    return dataclasses.replace(config, out=folder / f"{name}{ending}")
