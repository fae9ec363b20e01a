"""The training loop: clips -> objective -> optimizer, EMA -> checkpoint."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from ..computing import computing
from ..data.clips import Clips, LatentEpisodes
from ..data.loader import ClipLoader
from ..flow.objectives import FlowMatching, Losses
from ..model.heads import ProjectionHead
from ..world_model import WorldModel
from .config import TrainerConfig
from .ema import Ema
from .judge_losses import progress_loss, steps_loss, told


@dataclass
class _State:
    """Everything that a checkpoint holds besides the step."""

    student: WorldModel
    projector: ProjectionHead
    ema: Ema[WorldModel]
    optimizer: torch.optim.Optimizer

    def state_dict(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "student": self.student.state_dict(),
            "projector": self.projector.state_dict(),
            "ema": self.ema.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load(self, saved: dict[str, Any]) -> int:
        self.student.load_state_dict(saved["student"])
        self.projector.load_state_dict(saved["projector"])
        self.ema.module.load_state_dict(saved["ema"])
        self.optimizer.load_state_dict(saved["optimizer"])
        return int(saved["step"])


Evaluate = Callable[[WorldModel, int], dict[str, float]]


class Trainer:
    """Trains a world model, or its network alone on video without actions.

    Args:
        world_model: the student; trained in place.
        objective: what the network learns from.
        episodes: training latents.
        repeat: see :meth:`LatentEpisodes.starts`.
        folder: `checkpoint.pt` and TensorBoard's curves go here; a checkpoint found is resumed.
        evaluate: called with the EMA model every `save_every` steps; what it returns is logged.
    """

    def __init__(
        self,
        world_model: WorldModel,
        objective: FlowMatching,
        episodes: LatentEpisodes,
        config: TrainerConfig,
        folder: Path,
        evaluate: Evaluate | None = None,
        repeat: Mapping[str, int] | None = None,
    ) -> None:
        self.config, self.objective = config, objective
        self.folder, self.evaluate = folder, evaluate
        self.loader = ClipLoader(episodes, config.frames, config.batch_size, config.seed, repeat)
        torch.manual_seed(config.seed)
        projector = ProjectionHead(world_model.config.network.width).to(world_model.device)
        trained = [p for p in world_model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            [*trained, *projector.parameters()],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
        )
        self.state = _State(world_model, projector, Ema(world_model, config.ema), optimizer)
        self.step = 0

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Continue from `checkpoint.pt` if it is there.

        Raises:
            ValueError: it is damaged or of another model.
        """
        if not self.checkpoint.exists():
            return
        try:
            saved = torch.load(self.checkpoint, weights_only=True)
            self.step = self.state.load(saved)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(
                f"{self.checkpoint} cannot be resumed ({reason}); remove it to begin anew, or give "
                "the configuration it was made with"
            ) from None

    def save(self) -> None:
        """Write the checkpoint, in full or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(self.state.state_dict(self.step), partial)
        os.replace(partial, self.checkpoint)

    def fit(self) -> WorldModel:
        """Train to the last step and return the EMA model."""
        self.resume()
        with SummaryWriter(str(self.folder)) as writer:
            self._train(writer)
        return self.state.ema.module

    def _train(self, writer: SummaryWriter) -> None:
        batches = self.loader.batches(self.step)
        waited, began = 0.0, time.monotonic()
        bar = tqdm(total=self.config.steps, initial=self.step, desc="training", unit="step")
        while self.step < self.config.steps:
            asked = time.monotonic()
            clips = next(batches).clips.to(self.state.student.device)
            waited += time.monotonic() - asked
            parts = self._train_step(clips)
            self.step += 1
            bar.update()
            if self.step % self.config.log_every == 0:
                elapsed = time.monotonic() - began
                parts["data_wait"] = waited / elapsed
                bar.set_postfix({k: f"{v:.3f}" for k, v in parts.items() if k in _SHOWN})
                for key, value in parts.items():
                    writer.add_scalar(f"train/{key}", value, self.step)
            if self.step % self.config.save_every == 0 or self.step == self.config.steps:
                self.save()
                if self.evaluate is not None:
                    found = self.evaluate(self.state.ema.module, self.step)
                    tqdm.write(f"step {self.step}: " + _sentence(found))
                    for key, value in found.items():
                        writer.add_scalar(f"held-out/{key}", value, self.step)
        bar.close()

    def _train_step(self, clips: Clips) -> dict[str, float]:
        student, device = self.state.student, self.state.student.device
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        for group in self.state.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * _schedule(self.step, self.config)
        with computing(self.config.precision, device):
            losses = self.objective(
                student.network,
                self.state.ema.module.network,
                self.state.projector,
                clips,
                generator,
            )
            total = losses.total + self._judge(clips, losses)
        if not torch.isfinite(total):
            raise RuntimeError(
                f"the loss is {total.item()} at step {self.step}; lower trainer.learning_rate, or "
                f"look at its parts: {losses.parts}"
            )
        self.state.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        trained = [p for g in self.state.optimizer.param_groups for p in g["params"]]
        norm = nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        self.state.optimizer.step()
        self.state.ema.update(student, self.step)
        return {"loss": float(total.detach()), "gradient": float(norm), **losses.parts}

    def _judge(self, clips: Clips, losses: Losses) -> Tensor:
        """Losses of the heads, on the features that the objective computed anyway."""
        student = self.state.student
        if clips.words_BTL is None or clips.steps_BT is None:
            return losses.total.new_zeros(())
        network = student.network
        assert network.instruction is not None
        seen = losses.features_BTMD
        progress = progress_loss(
            student.progress_head,
            seen,
            losses.clean_BT,
            clips.steps_BT,
            told(network.instruction, clips),
        )
        losses.parts["progress"] = float(progress.detach())
        total = 0.5 * progress
        if clips.goal_BCHW is not None and clips.goal_steps_BT is not None:
            with torch.no_grad():  # the features that planning compares with, as they are
                goals = student.goal_features(clips.goal_BCHW, clips.goal_state_BP)
            apart = steps_loss(
                student.steps_head, seen, losses.clean_BT, goals, clips.goal_steps_BT
            )
            losses.parts["steps"] = float(apart.detach())
            total = total + 0.25 * apart
        return total


_SHOWN = ("loss", "video", "action", "cosine", "data_wait")


def _sentence(values: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in values.items())


def _schedule(step: int, config: TrainerConfig) -> float:
    """Share of the learning rate: linear warm-up, then a cosine down to a twentieth."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
