from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from live_tensors import LiveTensors
from tiny_world import CHANNELS, FACTOR, IMAGE, VOCABULARY, latent_episodes
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.machine.precision import Precision, computing
from selfflow_robotics.model.heads import ProjectionHead
from selfflow_robotics.model.presets import PRESETS
from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
from selfflow_robotics.training.ema import Ema
from selfflow_robotics.training.estimate import (
    Task,
    activation_bytes,
    block_bytes,
    estimate,
    losses,
)
from selfflow_robotics.training.parallelize import keep_fewer_activations
from selfflow_robotics.training.trainer import Trainer

TASK = Task(ModelConfig("tiny"), ObjectiveConfig(), IMAGE, FACTOR, CHANNELS, frames=4)

ATTENDING = [name for name in PRESETS if not name.startswith("cells")]


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in ("L", "XL") else []) for n in ATTENDING],
)
def test_parameters_are_those_of_the_model(name: str) -> None:
    task = replace(TASK, model=ModelConfig(name), words=30)
    found = estimate(task, batch=1, gpus=1, accumulate=1, bf16=True)
    built = task.build()
    assert built.progress_head is not None and built.steps_head is not None
    assert found.network == size(built.network)
    assert found.heads == size(built.progress_head) + size(built.steps_head)
    assert found.projector == size(ProjectionHead(built.config.network.width))


@pytest.mark.parametrize("name", ["cells", "cells0"])
def test_model_that_only_imagines_has_no_heads(name: str) -> None:
    model = ModelConfig(name, cells=8, kinematics=True, markov=True)
    task = replace(TASK, model=model, objective=ObjectiveConfig("unrolled"), words=30)
    found = estimate(task, batch=1, gpus=1, accumulate=1, bf16=True)
    assert found.network == size(task.build().network) and found.heads == 0
    assert found.flops > 0


@pytest.mark.parametrize("words", [0, 30])
def test_captions_add_one_matrix_to_the_network(words: int) -> None:
    task = replace(TASK, words=words)
    without, found = (
        estimate(replace(task, text_width=width), batch=1, gpus=1, accumulate=1, bf16=False)
        for width in (0, 768)
    )
    assert found.network - without.network == 768 * task.build().config.network.width
    assert found.flops > without.flops and found.memory.peak > without.memory.peak


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("robot", [True, False], ids=["robot", "video"])
@pytest.mark.parametrize("objective", ["self_flow", "flow_matching"])
@pytest.mark.parametrize("shortcut", [0.0, 1.0], ids=["", "shortcut"])
def test_flops_are_those_of_a_step(
    tmp_path: Path, preset: str, robot: bool, objective: str, shortcut: float
) -> None:
    words = len(VOCABULARY.words) if robot else 0
    task = replace(
        TASK,
        model=ModelConfig(preset),
        objective=ObjectiveConfig(objective, shortcut=shortcut),  # type: ignore[arg-type]
        words=words,
        recompute_every=2,
    )
    episodes = latent_episodes()
    if not robot:
        episodes = replace(episodes, actions=None, states=None, words=None)
    config = TrainerConfig(
        steps=1, batch_size=4, frames=4, accumulate=2, recompute_every=2, precision="fp32"
    )
    trainer = Trainer(task.build(), task.build_objective(), episodes, config, tmp_path)
    # The counter does not know the attention kernel of the CPU.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        trainer.fit()
    found = estimate(task, batch=4, gpus=1, accumulate=2, bf16=False)
    assert found.flops == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_flops_of_a_share_of_steps_lie_between() -> None:
    none, some, all_ = (
        estimate(replace(TASK, objective=ObjectiveConfig(shortcut=share)), 8, 1, 1, False).flops
        for share in (0.0, 0.25, 1.0)
    )
    assert some == pytest.approx(none + 0.25 * (all_ - none), rel=1e-6)


def saved_bytes(task: Task, batch: int, precision: Precision) -> int:
    """What autograd keeps for the backward pass, weights and their copies not counted."""
    model, teacher = task.build(), task.build()
    projector = ProjectionHead(model.config.network.width)
    keep_fewer_activations(model.network, task.recompute_every)
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):  # as autocast has it on CUDA
            module.register_forward_pre_hook(lambda _, given: (given[0].float(),))
    weights = {p.shape for part in (model, projector) for p in part.parameters()}
    weights |= {shape[::-1] for shape in weights}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        computing(precision, "cpu"),
    ):
        total = losses(task, model, Ema(teacher, 0.0).module, projector, task.clips(batch))
    assert total.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("words", [0, 30])
@pytest.mark.parametrize("objective", ["self_flow", "flow_matching"])
@pytest.mark.parametrize("preset", ["tiny", "small"])
def test_activations_are_what_autograd_keeps(
    preset: str, objective: str, words: int, precision: Precision
) -> None:
    task = replace(
        TASK,
        model=ModelConfig(preset),
        objective=ObjectiveConfig(objective),  # type: ignore[arg-type]
        image_size=(64, 80),
        factor=8,
        channels=16,
        words=words,
    )
    # What attention keeps differs by a few percent between kernels.
    for every, tolerance in ((0, 0.05), (2, 0.09)):
        task = replace(task, recompute_every=every)
        network = task.build().config.network
        predicted = activation_bytes(task, network, clips=2, bf16=precision == "bf16")
        if every:  # the block that is computed again is not there yet
            predicted -= block_bytes(task, network, clips=2, bf16=precision == "bf16")
        assert predicted == pytest.approx(saved_bytes(task, 2, precision), rel=tolerance)


@pytest.mark.parametrize(
    ("words", "recompute_every", "accumulate", "precision"),
    [
        (30, 0, 1, "fp32"),
        (30, 0, 2, "fp32"),
        (30, 1, 1, "fp32"),
        (0, 0, 1, "fp32"),
        (30, 0, 1, "bf16"),
    ],
)
def test_memory_is_what_tensors_take_while_training(
    tmp_path: Path, words: int, recompute_every: int, accumulate: int, precision: Precision
) -> None:
    task = replace(
        TASK,
        model=ModelConfig("small"),
        image_size=(64, 80),
        factor=8,
        channels=16,
        words=words,
        recompute_every=recompute_every,
    )
    batch = 16 * accumulate
    config = TrainerConfig(
        steps=2,
        batch_size=batch,
        frames=4,
        accumulate=accumulate,
        recompute_every=recompute_every,
        precision=precision,
    )
    found = latent_episodes()
    latents = np.zeros((len(found.latents), 16, 8, 10), np.float16)
    episodes = replace(found, latents=JoinedRows([latents]))
    if not words:
        episodes = replace(episodes, actions=None, states=None, words=None)
    model = task.build()
    with LiveTensors([*model.parameters(), *model.buffers()]) as tensors:
        Trainer(model, task.build_objective(), episodes, config, tmp_path).fit()
    predicted = estimate(task, batch, 1, accumulate, bf16=precision == "bf16").memory.peak
    assert predicted == pytest.approx(tensors.peak, rel=0.1)


def test_saving_on_a_cpu_takes_no_more_than_training_which_is_what_was_estimated() -> None:
    benchmark = Path(__file__).parents[2] / "benchmarks" / "saving.py"
    command = [sys.executable, str(benchmark), "model=S", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)
    assert found["saved_vs_trained"] < 1.1 and found["written_vs_trained"] < 1.1
    assert found["estimated_vs_saved"] == pytest.approx(1, abs=0.15)


def test_memory_is_spread_over_gpus_and_saved_by_recomputing() -> None:
    task = replace(TASK, model=ModelConfig("small"))
    one = estimate(task, batch=16, gpus=1, accumulate=1, bf16=True).memory
    eight = estimate(task, batch=16, gpus=8, accumulate=1, bf16=True).memory
    for name in ("weights", "gradients", "optimizer", "ema"):
        assert getattr(eight, name) == pytest.approx(getattr(one, name) / 8, abs=1)
    assert one.optimizer == 2 * one.gradients
    assert eight.activations < one.activations / 7
    again = replace(task, recompute_every=1)
    less = estimate(again, batch=16, gpus=1, accumulate=1, bf16=True)
    assert less.memory.activations < one.activations / 2
    assert less.flops > estimate(task, batch=16, gpus=1, accumulate=1, bf16=True).flops


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="10 clips does not divide over 4 GPUs in 1 parts each"):
        estimate(TASK, batch=10, gpus=4, accumulate=1, bf16=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("recompute_every", [0, 1])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_memory_is_what_a_gpu_allocates(
    tmp_path: Path, precision: Precision, recompute_every: int
) -> None:
    task = replace(
        TASK,
        model=ModelConfig("B"),
        words=len(VOCABULARY.words),
        recompute_every=recompute_every,
    )
    config = TrainerConfig(
        steps=3,
        batch_size=256,
        frames=4,
        recompute_every=recompute_every,
        precision=precision,
    )
    objective = task.build_objective()
    trainer = Trainer(task.build().cuda(), objective, latent_episodes(), config, tmp_path)
    torch.cuda.reset_peak_memory_stats()
    trainer.fit()
    found = estimate(task, 256, gpus=1, accumulate=1, bf16=precision == "bf16").memory
    assert found.peak == pytest.approx(torch.cuda.max_memory_allocated(), rel=0.1)
