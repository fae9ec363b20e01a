"""Whether a run fits into memory, said before anything is read."""

from __future__ import annotations

import os
import sys

import torch

from ..flow.objectives import Repa
from ..machine.precision import resolve_reproducibly
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.imagination.memory import available
from .config import ModelConfig, ObjectiveConfig, TrainerConfig
from .estimate import Task, estimate_memory
from .ranks import Ranks

_ADVICE = (
    "take a smaller model.preset or trainer.batch_size, raise trainer.accumulate, or set "
    'trainer.recompute_every=1 ("selfflow estimate" predicts it)'
)


def require_memory(
    model: ModelConfig,
    objective: ObjectiveConfig,
    trainer: TrainerConfig,
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    ranks: Ranks,
    *,
    words: int = 0,
    text_width: int = 0,
) -> None:
    """Compare what a run is estimated to take with what there is: more than free is a warning.

    REPA's encoder is not known before it is loaded, and its runs are not estimated.

    Args:
        words: 0 for video alone; of a robot's instructions, about how many differ.

    Raises:
        ValueError: the device has less memory in all, or the batch or the sizes do not divide.
    """
    if issubclass(objective.kind(), Repa):
        return
    task = Task(
        model,
        objective,
        image_size,
        tokenizer.factor,
        tokenizer.channels,
        trainer.frames,
        words,
        trainer.recompute_every,
        tokenizer.temporal,
        text_width,
    )
    device = torch.device(ranks.device)
    bf16 = resolve_reproducibly(trainer.precision, device) == "bf16"
    on_cpu = device.type == "cpu"
    batch, parts = trainer.batch_size, trainer.accumulate
    memory = estimate_memory(task, batch, ranks.count, parts, bf16, on_cpu=on_cpu)
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if on_cpu else 1
    say_memory(memory.peak * beside, available(device), total(device), str(device))


def say_memory(needed: float, free: float, built_in: float, device: str) -> None:
    """Warn of a run that needs more bytes than are free.

    Raises:
        ValueError: it needs more than there are.
    """
    takes = f"training takes about {needed / 2**30:.3g} GiB of memory, and {device} has"
    if needed > built_in:
        raise ValueError(f"{takes} {built_in / 2**30:.3g}; {_ADVICE}")
    if needed > free:
        print(f"warning: {takes} {free / 2**30:.3g} free; {_ADVICE}", file=sys.stderr)


def total(device: torch.device) -> float:
    """Bytes that a GPU has, or that this machine has within the limit of a container."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    if device.type != "cpu":
        return float("inf")
    built_in = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            return min(built_in, float(file.read()))
    except (OSError, ValueError):
        return built_in
