"""What an imagined frame costs a core, in a batch of candidates, beside the shipped model.

    python benchmarks/imagined_frame.py [--models FOLDER ...] [--candidates 64] [--turns 9]

For the shipped model, `model=cells` and `model=cells0` (random weights, which cost the same), and
world models in folders: milliseconds of processor time a frame, one row, 64 candidates of 4 frames,
one step of denoising, on one thread. Models take turns, and the least of the turns counts, since
neighbours on a machine only add.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch

from selfflow_robotics.machine.allocator import keep_memory
from selfflow_robotics.training.config import ModelConfig
from selfflow_robotics.training.recipe import build_world_model
from selfflow_robotics.world_model.world_model import WorldModel

HORIZON, HISTORY = 4, 2
SHIPPED = "tabletop-small"


def models(folders: list[str]) -> dict[str, WorldModel]:
    """Those to compare, by name."""
    like = WorldModel.from_pretrained(SHIPPED)
    found = {SHIPPED: like}
    for name in ("cells", "cells0"):
        config = ModelConfig(name, history_len=1, cells=48, kinematics=True, markov=True)
        found[name] = build_world_model(
            config,
            like.tokenizer,
            like.image_size,
            like.action_spec,
            like.state_spec,
            like.config.vocabulary,
        ).eval()
    return found | {folder: WorldModel.from_pretrained(folder) for folder in folders}


def rollout_of(model: WorldModel, candidates: int) -> Callable[[], object]:
    """Imagines a batch of futures."""
    channels, (rows, columns) = model.tokenizer.channels, model.config.network.grid
    patch, spec, state = model.config.patch, model.action_spec, model.state_spec
    count = min(HISTORY, model.config.history_len)
    draw = torch.Generator().manual_seed(0)
    latents = torch.randn(1, count, channels, rows * patch, columns * patch, generator=draw)
    led_to = torch.zeros(1, count, spec.size)
    states = None if state is None else torch.randn(1, count, state.size, generator=draw)
    context = model.observe_latents(latents, led_to, states)
    actions = torch.rand(1, candidates, HORIZON, spec.size, generator=draw) * 0.2 - 0.1
    return lambda: model.rollout(context, actions)


@torch.no_grad()
def milliseconds(folders: list[str], candidates: int, turns: int) -> dict[str, float]:
    """Of processor time a frame, by model."""
    runs = {name: rollout_of(one, candidates) for name, one in models(folders).items()}
    least = dict.fromkeys(runs, float("inf"))
    for turn in range(turns + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if turn:  # the first warms up
                least[name] = min(least[name], time.process_time() - began)
    return {name: 1000 * s / (candidates * HORIZON) for name, s in least.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=[])
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    taken = milliseconds(given.models, given.candidates, given.turns)
    found: dict[str, Any] = {
        name: {"ms_a_frame": round(ms, 3), "times_quicker": round(taken[SHIPPED] / ms, 1)}
        for name, ms in taken.items()
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
