"""What a training run consists of at a step, and the tensors that a checkpoint of it holds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..world_model.world_model import WorldModel
from .ema import Ema


@dataclass
class TrainingState:
    """Student, projector, teacher and optimizer after `step` steps, of which some were skipped."""

    student: WorldModel
    projector: nn.Module
    ema: Ema[WorldModel]
    optimizer: torch.optim.Optimizer
    step: int = 0
    skipped: int = 0

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer moves, by name."""
        return _trained(self.student, self.projector)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as named tensors, which share memory with the state where they can.

        The optimizer's are of those weights that ever had a gradient.
        """
        found = {"step": torch.tensor(self.step), "skipped": torch.tensor(self.skipped)}
        parts = {"student": self.student, "projector": self.projector, "ema": self.ema.module}
        for part, module in parts.items():
            found.update({f"{part}.{name}": value for name, value in module.state_dict().items()})
        for name, parameter in self.trained.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                found[f"optimizer.{key}.{name}"] = value
        return found

    def make_room(self, names: Collection[str]) -> dict[str, Tensor]:
        """`tensors` to be read into, the optimizer's being those that a checkpoint has."""
        self.optimizer.state.clear()
        for name, parameter in self.trained.items():
            if f"optimizer.step.{name}" in names:
                self.optimizer.state[parameter] = {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter.detach()),
                    "exp_avg_sq": torch.zeros_like(parameter.detach()),
                }
        return self.tensors()

    def take(self, read: dict[str, Tensor]) -> None:
        """Continue where the tensors of `make_room`, read, left off."""
        self.step, self.skipped = int(read["step"]), int(read["skipped"])


def _trained(student: WorldModel, projector: nn.Module) -> dict[str, nn.Parameter]:
    parts = {"student": student, "projector": projector}
    return {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


def make_state(
    student: WorldModel,
    projector: nn.Module,
    ema: Ema[WorldModel],
    learning_rate: float,
    weight_decay: float,
) -> TrainingState:
    """The state before the first step; weights are spread over ranks by now."""
    optimizer = torch.optim.AdamW(
        _trained(student, projector).values(),
        lr=learning_rate,
        betas=(0.9, 0.99),
        weight_decay=weight_decay,
    )
    return TrainingState(student, projector, ema, optimizer)
