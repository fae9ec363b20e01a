"""A training command as a job of Slurm, which saves when its time is up and is queued again.

submitit has the job signalled (SIGUSR2) ahead of its end or preemption. The command is then asked
to stop as SIGTERM asks it, it saves, and only then is the job handed back to submitit, which
requeues it; the same command goes on from what was saved.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..machine.extras import require
from ..storage.keys import key


@dataclass(frozen=True)
class SlurmConfig:
    """What the job asks for. One process a GPU."""

    partition: str | None = key("default: the cluster's own", None)
    nodes: int = key("machines", 1, least=1)
    gpus_per_node: int = key("0: one process without a GPU", 8)
    cpus_per_gpu: int = key("processors of each process", 8, least=1)
    hours: float = key("after which the job is requeued", 24.0, above=0)
    grace: int = key("seconds to save in, before the end", 120)
    requeues: int = key("how often time may be up", 100)
    more: dict[str, str] = key("what else sbatch takes: slurm.more.qos=high", dict)
    cluster: Literal["slurm", "local"] = key("local: on this machine, to try it", "slurm")


class Job:
    """Runs a command on each of a job's processes, and goes back to the queue if asked to stop.

    Args:
        run: a command's `run`.
        config: its configuration.
    """

    def __init__(self, run: Callable[[Any], int], config: Any) -> None:
        self.run, self.config = run, config

    def __call__(self) -> int:
        """The command's exit status.

        Raises:
            RuntimeError: it is not 0; submitit then calls the job failed.
        """
        submitit = require("submitit", "slurm")
        # Each process sees all GPUs of its node and takes its own by LOCAL_RANK, as with torchrun.
        submitit.helpers.TorchDistributedEnvironment().export(
            set_cuda_visible_devices=False, overwrite=True
        )
        ahead = getattr(signal, f"SIG{submitit.JobEnvironment.USR_SIG}")
        asked = False

        def stop(*_: object) -> None:
            nonlocal asked
            asked = True
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(signal.SIGTERM, _leave)
        requeue = signal.signal(ahead, stop)
        status = 0
        try:
            status = self.run(self.config)
        except SystemExit:
            if not asked:
                raise
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(ahead, requeue)
        if asked:
            os.kill(os.getpid(), ahead)
        if status:
            raise RuntimeError(f"the command ended with status {status}")
        return status

    def checkpoint(self) -> Any:
        """What submitit queues again: the same, which resumes."""
        return require("submitit", "slurm").helpers.DelayedSubmission(self)


def _leave(number: int, frame: object) -> None:
    """Leave by an exception, so that half-written files are cleared away; not while training."""
    raise SystemExit(128 + number)


def submit(
    name: str, run: Callable[[Any], int], config: Any, output: Path, job: SlurmConfig
) -> Any:
    """Queue a command, and return submitit's job.

    Raises:
        MissingExtraError: submitit is not installed.
        ValueError: there is no Slurm here, or a number is out of range.
    """
    submitit = require("submitit", "slurm")
    if job.hours * 3600 < job.grace:
        raise ValueError(
            f"a job of {job.hours} hours, of which {job.grace} s are to save in: give more time "
            "than it takes to save"
        )
    folder = output.absolute() / "training" / "jobs"
    try:
        executor = submitit.AutoExecutor(
            folder / "%j", cluster=job.cluster, slurm_max_num_timeout=job.requeues
        )
    except RuntimeError as error:
        raise ValueError(
            f"there is no Slurm here ({error}); submit from a machine that has sbatch"
        ) from None
    executor.update_parameters(
        name=name,
        nodes=job.nodes,
        tasks_per_node=job.gpus_per_node or 1,
        gpus_per_node=job.gpus_per_node,
        cpus_per_task=job.cpus_per_gpu,
        timeout_min=max(1, round(job.hours * 60)),
        slurm_partition=job.partition,
        slurm_signal_delay_s=job.grace,
        slurm_additional_parameters={"requeue": True, "open-mode": "append", **job.more},
    )
    made = executor.submit(Job(run, config))
    print(f"job {made.job_id}; what it says: {made.paths.stdout} and {made.paths.stderr.name}")
    return made
