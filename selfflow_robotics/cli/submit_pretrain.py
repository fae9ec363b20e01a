"""`selfflow submit pretrain`: `selfflow pretrain` as a Slurm job."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..training.slurm_job import SlurmConfig, submit
from . import pretrain

HELP = """Queue pretraining on video as a Slurm job.

Takes the keys of "selfflow pretrain", with device=cuda for GPUs, and slurm.*. Writes what that
command writes and, in training/jobs under out, what the job says. When its time is up or it is
preempted, the job saves, goes back to the queue and goes on from there. Needs the extra [slurm].
"""


@dataclass(frozen=True)
class Config(pretrain.Config):
    slurm: SlurmConfig = field(default_factory=SlurmConfig)


def run(config: Config) -> int:
    submit("selfflow-pretrain", pretrain.run, config, config.out, config.slurm)
    return 0
