"""What each training objective comes to, and costs a step, on the same video, seeds and steps.

    python benchmarks/objectives.py [--json] [--encoder FOLDER_OR_HUB]

Generated physics scenes, the shipped tokenizer, the tiny preset. `error` is that of a held-out next
frame's latents, imagined by the EMA model in one step from noise after two frames, over the error
of keeping the last frame: below 1 beats a still picture. `step` is the processor time of a training
step, forward and backward, over that of flow matching, the objectives taking turns. REPA is
measured where an encoder is given: with random weights it would not be REPA.

What this does not show: which objective is better. Representation losses are published to help from
about 100 million parameters on and after many thousand steps; here are a third of a million and a
few hundred, after which none beats a still picture yet. What the ratios of time show is what an
objective costs on a processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from selfflow_robotics.envs.physics_video import PhysicsVideo
from torch import Tensor

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.flow.noising import anchors
from selfflow_robotics.flow.objectives import FlowMatching
from selfflow_robotics.model.dit import Conditions
from selfflow_robotics.model.tokens import Frames, patchify
from selfflow_robotics.streams import RowStreams
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.recipe import build_objective, build_world_model
from selfflow_robotics.training.trainer import Trainer
from selfflow_robotics.world_model.world_model import WorldModel

IMAGE, FRAMES, BATCH, HISTORY = (64, 80), 6, 8, 2
STEPS, SEEDS, ROUNDS = 300, (0, 1), 10
TRAIN, HELD_OUT = 48, 16
MODEL = ModelConfig("tiny")


def new_model(seed: int) -> WorldModel:
    """A model with random weights and the tokenizer of the shipped one."""
    tokenizer = WorldModel.from_pretrained("tabletop-small").tokenizer
    torch.manual_seed(seed)
    return build_world_model(
        MODEL, tokenizer.requires_grad_(False), IMAGE, RT1_ACTIONS, RT1_STATE, Vocabulary(())
    )


@torch.no_grad()
def next_frame_error(model: WorldModel, held_out: LatentEpisodes) -> float:
    """Squared error of the frame after `HISTORY` ones, over that of keeping the last of these."""
    starts = held_out.starts(HISTORY + 1)[::3]
    clean = patchify(held_out.clips(starts, HISTORY + 1).latents_BTCHW, MODEL.patch)
    noise = torch.randn(clean[:, -1].shape, generator=torch.Generator().manual_seed(0))
    shown = torch.cat((clean[:, :-1], noise[:, None]), dim=1)
    times = torch.zeros(len(clean), HISTORY + 1, 1)
    times[:, -1] = 1
    prefix = torch.full((len(clean),), HISTORY)
    out = model.network(Frames(shown, anchors(clean, prefix)), Conditions(times)).video_BTNC
    assert isinstance(out, Tensor)
    truth, last = clean[:, -1], clean[:, -2]
    return float(((noise - out[:, -1] - truth) ** 2).mean() / ((last - truth) ** 2).mean())


def train(objective: FlowMatching, seed: int, episodes: LatentEpisodes) -> WorldModel:
    """The EMA model after `STEPS` steps."""
    config = TrainerConfig(
        steps=STEPS, batch_size=BATCH, frames=FRAMES, warmup=50, precision="fp32", seed=seed
    )
    with tempfile.TemporaryDirectory() as folder:
        trained = Trainer(new_model(seed), objective, episodes, config, Path(folder)).fit()
    assert trained is not None
    return trained


def step_seconds(
    objectives: dict[str, FlowMatching], episodes: LatentEpisodes
) -> dict[str, list[float]]:
    """Processor seconds of a step's losses and gradients, each round of all objectives."""
    student, teacher = new_model(0).network, new_model(0).network.requires_grad_(False)
    clips = episodes.clips(np.asarray(episodes.starts(FRAMES)[:BATCH]), FRAMES)
    heads = {name: made.projector(student.config.width) for name, made in objectives.items()}
    found: dict[str, list[float]] = {name: [] for name in objectives}
    for turn in range(-2, ROUNDS):  # the first two warm up
        for name, objective in objectives.items():
            streams = RowStreams(0, range(BATCH), turn + 2)
            began = time.process_time()
            noised = objective.noise(clips, streams)
            total = objective(student, teacher, heads[name], noised).total
            total.backward()  # type: ignore[no-untyped-call]
            if turn >= 0:
                found[name].append(time.process_time() - began)
    return found


def main() -> None:
    """Train and time every objective and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--encoder", help="DINOv2 for REPA: a folder or a name on the Hub")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    first = new_model(0)
    episodes, held_out = (
        encode_episodes(PhysicsVideo(count, 24, IMAGE, seed=seed), first.tokenizer)
        for count, seed in ((TRAIN, 1), (HELD_OUT, 2))
    )
    names = [
        "flow_matching",
        "diffusion_forcing",
        "sra",
        "self_flow",
        *["repa"] * bool(asked.encoder),
    ]
    objectives = {
        name: build_objective(
            ObjectiveConfig(name, encoder=asked.encoder),
            MODEL.patch,
            0,
            first.tokenizer,
        )
        for name in names
    }
    seconds = step_seconds(objectives, episodes)
    found = {
        name: {
            "error": [
                round(next_frame_error(train(objective, seed, episodes), held_out), 4)
                for seed in SEEDS
            ],
            "step": round(
                statistics.median(
                    a / b for a, b in zip(seconds[name], seconds["flow_matching"], strict=True)
                ),
                3,
            ),
        }
        for name, objective in objectives.items()
    }
    result = {
        "untrained_error": round(next_frame_error(first, held_out), 4),
        "parameters": sum(p.numel() for p in first.network.parameters()),
        "steps": STEPS,
        "batch": [BATCH, FRAMES],
        "objectives": found,
        "left_out": [] if asked.encoder else ["repa: no DINOv2 weights were given"],
        "does_not_show": "which is better: too small and too short for representation losses",
        "torch": torch.__version__,
    }
    if asked.json:
        print(json.dumps(result, indent=2))
        return
    print(f"error of an untrained model {result['untrained_error']}, of a still picture 1")
    for name, values in found.items():
        print(f"{name:18} error {values['error']}, a step {values['step']} of flow matching's")


if __name__ == "__main__":
    main()
