"""What a training run consists of at a step, and the tensors that a checkpoint of it holds."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from ..world_model.world_model import WorldModel
from .ema import Ema


class TrainingState:
    """Student, projector, teacher and optimizer after `step` steps, of which some were skipped.

    It is made before the first step; weights are spread over ranks by then. What the optimizer
    moves is `trained`, by name.
    """

    def __init__(
        self,
        student: WorldModel,
        projector: nn.Module,
        ema: Ema[WorldModel],
        learning_rate: float,
        weight_decay: float,
    ) -> None:
        self.student, self.projector, self.ema = student, projector, ema
        self.step = self.skipped = 0
        parts = {"student": student, "projector": projector}
        self.trained = {
            f"{part}.{name}": parameter
            for part, module in parts.items()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=weight_decay
        )

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
