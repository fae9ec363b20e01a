"""What loses a plan: the cost, imagination, or the candidates themselves.

One bank of candidates is scored three times: by the cost of imagined frames, by the same cost of
the true frames, and by the truth (the decomposition of arXiv 2608.18746). From imagined to true
frames is what a better model could give, from there to the truth what a better cost could.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfflow_robotics.envs.mapping import EnvMapping
from selfflow_robotics.planning.bounds import Bounds
from selfflow_robotics.planning.protocol import Objective
from selfflow_robotics.policies.history import History
from selfflow_robotics.policies.true_frames import seen_after
from selfflow_robotics.storage.whole_file import write_whole
from selfflow_robotics.world_model.protocol import Observes

from .picture import picture
from .playing import Future, Playing, Start
from .scores import Bank, Values, scored, verdict

SPREADS: Mapping[str, float] = {"0.3": 0.3, "0.6": 0.6, "uniform": math.inf}
"""Standard deviations, normalised, of candidates around the model's guess; without end: anywhere
within the bounds."""


@dataclass(frozen=True)
class Audit:
    """What was measured, by spread; see :func:`scored`."""

    world_model: str
    tasks: tuple[str, ...]
    truth: str  # what the true cost of a candidate is
    spreads: Mapping[str, Mapping[str, float | None]]
    by_task: Mapping[str, Mapping[str, Mapping[str, float | None]]]
    verdicts: tuple[str, ...]
    excitation: float | None = None

    def table(self) -> str:
        """Rank correlations and gains by spread, and what they say."""
        keys = ("noise", "true_frames", "imagined", "shuffled")
        head = f"{'spread':8}" + "".join(f"{key.replace('_', ' '):>18}" for key in keys)
        rows = [head + f"{'best':>8}{'success':>9}"]
        for spread, found in self.spreads.items():
            told = [f"{_number(found[k])} ({_number(found[f'gain_{k}'])})" for k in keys]
            best, share = _number(found["gain_best"]), _number(found["success_share"])
            rows.append(f"{spread:8}" + "".join(f"{t:>18}" for t in told) + f"{best:>8}{share:>9}")
        rows.append("rank correlation with the truth (what the chosen candidate saves)")
        if self.excitation is not None:
            rows.append(f"least variance of actions in the data: {self.excitation:.4f}")
        return "\n".join([*rows, *self.verdicts])

    def write(self, folder: Path) -> None:
        """`audit.json` and `audit.svg` in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {key: value for key, value in vars(self).items() if key != "spreads"}
        text = json.dumps({**self.spreads, **about}, indent=1)
        write_whole(folder / "audit.json", partial(_write, text))
        write_whole(folder / "audit.svg", partial(_write, picture(self.spreads, self.truth)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


@torch.no_grad()
def audit(
    world_model: Observes,
    objective: Objective,
    tasks: Sequence[str],
    *,
    name: str = "the world model",
    horizon: int = 3,
    candidates: int = 12,
    states: int = 14,
    seed: int = 70_000,
    options: Mapping[str, Any] | None = None,
    mapping: EnvMapping | None = None,
) -> Audit:
    """Score candidates in states of every task.

    The states lie on the expert's way, of tasks that have one, or on the way of random play. A
    world model that can be shown true frames has a method ``seen``, as :class:`WorldModel`'s.

    Args:
        objective: the world model's cost.
        tasks: Gymnasium ids.
        horizon: actions of a candidate.
        candidates: of a bank; the first is the guess itself.
        states: of each task.
        seed: of the first state; then one more each.
        options: for ``gymnasium.make``; the world model's `camera_size` should be drawn.

    Raises:
        ValueError: nothing to score; before anything is scored, a task whose states cannot be
            returned to or whose expert fails; or costs none of which is finite.
    """
    if min(horizon, states) < 1 or candidates < 2:
        raise ValueError(
            f"{states} states, {candidates} candidates of {horizon} actions: give at least 1 state "
            "and 1 action, and 2 candidates to choose from"
        )
    by_task: dict[str, dict[str, list[Bank]]] = {}
    looks = world_model.history_len, world_model.image_fit, world_model.step_spec.size
    with ExitStack() as opened:
        all_playing: list[Playing] = []
        for task in tasks:
            playing = Playing(task, options or {}, mapping or EnvMapping(), History(*looks))
            opened.callback(playing.close)
            playing.require_truth(seed)
            all_playing.append(playing)
        for playing in all_playing:
            truth = playing.truth
            by_task[playing.task] = _banks(
                world_model, objective, playing, horizon, candidates, range(seed, seed + states)
            )
    rng = np.random.default_rng(seed)
    found = {s: scored([b for one in by_task.values() for b in one[s]], rng) for s in SPREADS}
    apart = {
        task: {s: scored(banks, rng) for s, banks in one.items()} for task, one in by_task.items()
    }
    told = tuple(verdict(s, values, truth) for s, values in found.items())
    return Audit(name, tuple(tasks), truth, found, apart, told)


def _banks(
    world_model: Observes,
    objective: Objective,
    playing: Playing,
    horizon: int,
    candidates: int,
    seeds: Sequence[int],
) -> dict[str, list[Bank]]:
    found: dict[str, list[Bank]] = {spread: [] for spread in SPREADS}
    for seed in seeds:
        start = playing.start(seed, np.random.default_rng(seed))
        if start is None:
            continue
        context = _observed(world_model, start)
        for spread, deviation in SPREADS.items():
            actions_KHA = _candidates(world_model, context, deviation, candidates, horizon, seed)
            found[spread].append(
                _bank(world_model, objective, playing, start, context, actions_KHA)
            )
    if not any(found.values()):
        raise ValueError(
            f"every episode of {playing.task} ended before a state could be taken; give "
            "another seed"
        )
    return found


def _observed(world_model: Observes, start: Start) -> Any:
    window = start.window
    states = window.states if world_model.state_spec is not None else None
    return world_model.observe(window.frames, window.past_actions, window.instruction, states)


def _candidates(
    world_model: Any, context: Any, deviation: float, count: int, horizon: int, seed: int
) -> Tensor:
    """(K, H, A) in the environment's units; the first is the guess, or rest without a prior."""
    bounds = Bounds(world_model.action_spec)
    middle_HA = bounds.rest.expand(horizon, -1)
    if getattr(world_model, "prior", None) is not None:
        middle_HA = bounds.from_environment(world_model.guess(context, 1, horizon))[0, 0]
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *middle_HA.shape)
    if math.isinf(deviation):
        part = torch.rand(shape, generator=generator)
        drawn = torch.lerp(bounds.low_A.expand(shape), bounds.high_A.expand(shape), part)
    else:
        drawn = middle_HA + deviation * torch.randn(shape, generator=generator)
    drawn[0] = middle_HA
    return bounds.to_environment(bounds.clamp(drawn))


def _bank(
    world_model: Any,
    objective: Objective,
    playing: Playing,
    start: Start,
    context: Any,
    actions_KHA: Tensor,
) -> Bank:
    size, count = world_model.step_spec.size, len(actions_KHA)
    steps_KSA = actions_KHA.reshape(count, -1, size)
    futures = [playing.carry_out(start, one.numpy()) for one in steps_KSA]
    still = world_model.step_spec.denormalize(
        Bounds(world_model.step_spec).rest.expand(steps_KSA.shape[1], -1)
    )
    imagined = world_model.rollout(context, actions_KHA[None])
    truth_K = np.array([future.cost for future in futures])
    again = [future.again for future in futures if future.again is not None]
    return Bank(
        truth_K,
        np.array(again) if again else None,
        _cost_of_truth(world_model, objective, start, context, steps_KSA, futures),
        _costs(objective, context, imagined, "imagined", start),
        playing.carry_out(start, still.numpy()).cost,
        any(future.success for future in futures),
    )


def _cost_of_truth(
    world_model: Any,
    objective: Objective,
    start: Start,
    context: Any,
    steps_KSA: Tensor,
    futures: Sequence[Future],
) -> Any:
    """The objective of the true frames (K,); None of a model that cannot be shown them."""
    if not hasattr(world_model, "seen"):
        return None
    shown = [(future.images, future.states) for future in futures]
    rollout = seen_after(world_model, start.window, steps_KSA, shown)
    return _costs(objective, context, rollout, "true", start)


def _costs(objective: Objective, context: Any, rollout: Any, shown: str, start: Start) -> Values:
    """The objective of one row's frames (K,); what is not finite is infinite, as to a planner."""
    cost_K = objective(context, rollout)[0].double().cpu()
    if not cost_K.isfinite().any():
        raise ValueError(
            f"none of {len(cost_K)} candidates has a finite cost of {shown} frames in {start.task} "
            f"(seed {start.seed}, step {start.step}); check the model's weights and the objective"
        )
    return np.asarray(cost_K.nan_to_num(*3 * (math.inf,)))
