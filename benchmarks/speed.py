"""How much faster a training step, a plan and an imagined frame are than they were at first.

    python benchmarks/speed.py [--parts step plan frame] [--threads 1] [--precision bf16]

This tree and that of commit 4edf7e1, which git checks out into a temporary folder, work in
processes of their own and in turns, each with the same number of threads. Figures are medians of
processor time, which neighbours on the machine disturb less than wall-clock time does.

- `step`: a training step of preset `small` with the batch of `trainer=tabletop-finetune`: clips,
  noise, teacher, student, backward, clipping, AdamW, EMA. Weights, clips and noise are the same,
  and so must be the losses. Whether bf16 or fp32 is quicker depends on the processor: some multiply
  bf16 at half the rate of fp32.
- `plan`: of 64 candidates, 3 rounds and 4 frames. Now by a critic in a model of `model=cells0`,
  whose weights are random and cost the same; then by progress in the shipped model.
- `frame`: imagined, in a batch of 64 candidates of 4 frames, in the same two models.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

FIRST, SHIPPED = "4edf7e1", "tabletop-small"
ROOT = Path(__file__).resolve().parents[1]
CANDIDATES, ROUNDS, HORIZON = 64, 3, 4
TURNS = {"step": 12, "plan": 5, "frame": 9}


def steps(precision: str) -> Iterator[float]:
    """Training, a step at a time; yields its loss."""
    import numpy as np
    import torch

    from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
    from selfflow_robotics.data.clips import LatentEpisodes
    from selfflow_robotics.data.latents.joined_rows import JoinedRows
    from selfflow_robotics.training.config import ModelConfig, ObjectiveConfig, TrainerConfig
    from selfflow_robotics.training.recipe import build_objective, build_world_model
    from selfflow_robotics.training.trainer import Trainer

    shipped = _shipped()
    channels, size = shipped.tokenizer.channels, shipped.tokenizer.latent_size(shipped.image_size)
    episodes, length = 64, 40
    count, random = episodes * length, np.random.default_rng(0)
    latents = LatentEpisodes(
        JoinedRows([random.normal(size=(count, channels, *size)).astype(np.float16)]),
        actions=random.normal(size=(count, RT1_ACTIONS.size)).astype(np.float32),
        states=random.normal(size=(count, RT1_STATE.size)).astype(np.float32),
        demonstrated=np.ones(count, np.bool_),
        texts=np.array(["open top drawer"]),
        told=np.zeros(count, np.int32),
        steps_to_success=np.tile(np.arange(length, dtype=np.float32)[::-1], episodes),
        offsets=np.arange(episodes + 1) * length,
        ids=np.array([str(i) for i in range(episodes)]),
    ).with_words(shipped.config.vocabulary)
    torch.manual_seed(0)
    network = ModelConfig("small")
    known = (RT1_ACTIONS, RT1_STATE, shipped.config.vocabulary)
    model = build_world_model(network, shipped.tokenizer, shipped.image_size, *known)
    objective = build_objective(ObjectiveConfig(), network.patch, 1, shipped.tokenizer)
    settings = TrainerConfig(batch_size=32, frames=4, ema=0.998, precision=precision)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, objective, latents, settings, Path(folder))
        for batch in trainer.loader.batches(0):
            values = trainer._train_step(batch, _Goes())  # type: ignore[arg-type]
            trainer.state.step += 1
            yield values["loss"]


class _Goes:
    """What training asks whether it is to stop."""

    received = False


def plans(precision: str) -> Iterator[float]:
    """A plan at a time; yields its cost."""
    from selfflow_robotics.planning.objectives.progress import Progress

    model = _imagines()
    context = _observed(model)
    search: dict[str, Any] = {"candidates": CANDIDATES, "iterations": ROUNDS, "horizon": HORIZON}
    if _is_first():
        from selfflow_robotics.planning.cem import CEM  # type: ignore[import-not-found]

        solver = CEM(model, Progress(model), **search)
    else:
        from selfflow_robotics.planning.config import BY_CRITIC, make_solver

        solver = make_solver(model, replace(BY_CRITIC, start="nothing", **search))
    while True:
        with _computing(precision):
            cost = float(solver.plan(context).cost_B[0])
        yield cost


def frames(precision: str) -> Iterator[float]:
    """All frames of a batch of candidates at a time; yields the mean of their latents."""
    import torch

    model = _imagines()
    context, random = _observed(model), torch.Generator().manual_seed(0)
    shape = (1, CANDIDATES, HORIZON, model.action_spec.size)
    actions = torch.rand(shape, generator=random) * 0.2 - 0.1
    while True:
        with torch.no_grad(), _computing(precision):
            mean = float(model.rollout(context, actions).latents_BKHCHW.mean())
        yield mean


WORKS = {"step": steps, "plan": plans, "frame": frames}


def _computing(precision: str) -> Any:
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")


def _is_first() -> bool:
    """Whether the package imported is the older one."""
    import selfflow_robotics

    return Path(selfflow_robotics.__file__ or "").parents[1] != ROOT


def _shipped() -> Any:
    if _is_first():
        from selfflow_robotics.world_model import WorldModel  # type: ignore[attr-defined]
    else:
        from selfflow_robotics.world_model.world_model import WorldModel
    return WorldModel.from_pretrained(SHIPPED)


def _imagines() -> Any:
    """The model that is planned in."""
    shipped = _shipped()
    if _is_first():
        return shipped
    from selfflow_robotics.model.critic import Critic
    from selfflow_robotics.training.config import ModelConfig
    from selfflow_robotics.training.fitted_critic import critic_sizes
    from selfflow_robotics.training.recipe import build_world_model

    network = ModelConfig("cells0", history_len=1, cells=48, kinematics=True, markov=True)
    known = (shipped.action_spec, shipped.state_spec, shipped.config.vocabulary)
    model = build_world_model(network, shipped.tokenizer, shipped.image_size, *known)
    model.critic = Critic(critic_sizes(model))
    return model.eval()


def _observed(model: Any) -> Any:
    """A context of as much history as the model looks back on."""
    import torch

    count, random = model.config.history_len, torch.Generator().manual_seed(0)
    size = (1, count, *model.image_size, 3)
    images = torch.randint(0, 256, size, dtype=torch.uint8, generator=random)
    actions = torch.zeros(1, count - 1, model.action_spec.size)
    states = torch.rand(1, count, model.state_spec.size, generator=random)
    return model.observe(images.numpy(), actions.numpy(), "open top drawer", states.numpy())


def work(part: str, threads: int, precision: str) -> None:
    """Do it once a line of input; prints seconds and what came out, as JSON."""
    import torch

    if _is_first():
        from selfflow_robotics.allocator import keep_memory  # type: ignore[import-not-found]
    else:
        from selfflow_robotics.machine.allocator import keep_memory
    keep_memory()
    torch.set_num_threads(threads)
    does = WORKS[part](precision)
    for _ in sys.stdin:
        began = time.process_time()
        found = next(does)
        print(json.dumps({"seconds": time.process_time() - began, "found": found}), flush=True)


@contextmanager
def older_tree(commit: str) -> Iterator[Path]:
    """That commit's files, where Python finds its package."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        git = ("git", "-C", str(ROOT), "worktree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            for folder in ("configs", "envs", "policies"):
                (tree / "selfflow_robotics" / folder).symlink_to(tree / folder)
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


@contextmanager
def worker(tree: Path, words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that works by the package of a tree."""
    process = subprocess.Popen(
        [sys.executable, __file__, *words],
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def turn(process: subprocess.Popen[str]) -> dict[str, float]:
    """What a worker reports of one piece of work."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a worker failed; its last words stand above")
    found: dict[str, float] = json.loads(line)
    return found


def compare(part: str, first: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Both trees in turns."""
    words = ("--work", part, "--threads", str(given.threads), "--precision", given.precision)
    with ExitStack() as stack:
        sides = [stack.enter_context(worker(tree, words)) for tree in (ROOT, first)]
        # The first turn warms up.
        found = [[turn(side) for side in sides] for _ in range(1 + (given.turns or TURNS[part]))]
    now, then = ([pair[side] for pair in found] for side in (0, 1))
    spent, spent_then = (median(one["seconds"] for one in side[1:]) for side in (now, then))
    result: dict[str, Any] = {
        "seconds": spent,
        "seconds_at_first": spent_then,
        "times_quicker": spent_then / spent,
    }
    if part == "step":
        result["losses"] = [one["found"] for one in now]
        result["losses_at_first"] = [one["found"] for one in then]
    if part == "frame":
        result["ms_a_frame"] = 1000 * spent / (CANDIDATES * HORIZON)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, help="instead of as many as each part needs")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work, given.threads, given.precision)
        return
    with older_tree(FIRST) as first:
        found = {part: compare(part, first, given) for part in given.parts}
    print(json.dumps({"threads": given.threads, "precision": given.precision, **found}, indent=1))


if __name__ == "__main__":
    main()
