"""A training run as a program, for tests that start it on several ranks or kill it.

    python training_run.py '{"folder": ..., "objective": ..., ...}'

Each rank appends a line of JSON a step to <folder>/rank-<rank>.jsonl; rank 0 writes the whole state
to <folder>/state.pt at the end. With "kill", rank 0 ends by SIGKILL before that step; with
"poison", [step, rank], that rank's clips of that step are not finite; with "text", that many values
of a text's vector are told to the network.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_world import PATCH, latent_episodes, world_model

from selfflow_robotics.training.config import ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.parallelize import whole
from selfflow_robotics.training.ranks import Ranks, join_ranks
from selfflow_robotics.training.recipe import build_objective
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel


class RecordedTrainer(Trainer):
    """Writes down what each step was of and came to."""

    kill: int | None = None
    poison: tuple[int, int] | None = None

    def _train_step(self, batch: Any, stop: Any) -> dict[str, float]:
        if self.state.step == self.kill and self.ranks.first:
            while self.state.step // self.config.save_every * self.config.save_every not in (
                self.checkpoints.steps()
            ):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        if (self.state.step, self.ranks.rank) == self.poison:
            batch.clips.latents_BTCHW.fill_(float("nan"))
        values = super()._train_step(batch, stop)
        seen = float(batch.clips.latents_BTCHW.double().sum())
        line = {"step": self.state.step, "seen": seen, "episodes": batch.episodes, **values}
        with open(self.folder / f"rank-{self.ranks.rank}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")
        return values


def small_model(step_sizes: bool = False, text_dim: int = 0) -> WorldModel:
    """As training begins: the rest as it is made, nothing of it as a test would have it."""
    torch.manual_seed(0)
    given = world_model(step_sizes=step_sizes)
    network = replace(given.config.network, text_dim=text_dim)
    model = WorldModel(replace(given.config, network=network), given.tokenizer)
    model.network.start_from_anchor()
    return model.train()


def build(settings: dict[str, Any], ranks: Ranks) -> RecordedTrainer:
    """The trainer of these settings."""
    config = TrainerConfig(
        batch_size=8, frames=4, warmup=5, precision="fp32", log_every=1, **settings["trainer"]
    )
    shortcut = settings.get("shortcut", 0.0)
    objective = ObjectiveConfig(
        name=settings["objective"], shortcut=shortcut, encoder=settings.get("encoder")
    )
    text_dim = settings.get("text", 0)
    model, episodes = small_model(shortcut > 0, text_dim), latent_episodes((8, 7, 9, 12))
    if text_dim:
        size = (len(episodes.texts), text_dim)
        vectors = np.random.default_rng(0).standard_normal(size, np.float32)
        episodes = replace(episodes, vectors=vectors)
    folder = Path(settings["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    made = RecordedTrainer(
        model,
        build_objective(objective, PATCH, 1, model.tokenizer),
        episodes,
        config,
        folder,
        ranks=ranks,
    )
    made.kill = settings.get("kill")
    made.poison = tuple(settings["poison"]) if settings.get("poison") else None
    return made


def main() -> None:
    """Train as the argument says."""
    with join_ranks("cpu") as ranks:
        for settings in json.loads(sys.argv[1]):
            made = build(settings, ranks)
            made.fit()
            state = {name: whole(value) for name, value in made.state.tensors().items()}
            if ranks.first:
                torch.save(state, Path(settings["folder"]) / "state.pt")


if __name__ == "__main__":
    main()
