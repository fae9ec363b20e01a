"""A teacher that looks into the simulator: it labels the frames from which nobody played on.

Fitted, one a task, to what is known exactly of the same episodes and of the ways that experts took
from them. One episode in ten is kept from it, so that its error is measured where it did not learn.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from selfflow_robotics.collecting.assignments import Assignment
from selfflow_robotics.collecting.labels import Labels
from selfflow_robotics.model.step_chances import chances_of
from selfflow_robotics.world_model.rank_correlation import rank_correlation

BINS = 41
"""Answers of a net: equal stretches of steps, and last "never"."""

_NETS, _WIDTH, _BATCH, _RATE = 2, 256, 512, 2e-3
_LEAST_UPDATES, _MOST_UPDATES, _STATES_AN_UPDATE = 200, 2000, 20
_HELD_OUT = 10


class Teacher(nn.Module):
    """Says how many steps an expert needs, from what decides the state.

    Args:
        states: (N, F) states that it learns from, for their scale.
        longest: most steps that it tells apart, save for a few in a thousand.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, states: Tensor, longest: float) -> None:
        super().__init__()
        self.register_buffer("mean", states.mean(dim=0))
        self.register_buffer("deviation", states.std(dim=0, correction=0).clamp(min=1e-3))
        self.bin_steps = max(math.ceil(longest / (BINS - 1)), 1)
        self.nets = nn.ModuleList(_net(states.shape[1]) for _ in range(_NETS))

    def logits(self, states: Tensor) -> Tensor:
        """(nets, N, BINS) of each net, for states (N, F)."""
        normal = ((states - self.mean) / self.deviation).clamp(-8, 8)
        return torch.stack([net(normal) for net in self.nets])

    @torch.no_grad()
    def forward(self, states: Tensor) -> Tensor:
        """Steps (N,) for states (N, F); infinite where "never" is more likely than not."""
        chance = self.logits(states).softmax(dim=-1).mean(dim=0)
        solved = chance[:, :-1]
        steps = (solved @ self._middles()) / solved.sum(dim=1).clamp(min=1e-6)
        return torch.where(chance[:, -1] > 0.5, torch.inf, steps.clamp(min=1.0))

    def loss(self, states: Tensor, left: Tensor) -> Tensor:
        """Cross-entropy with the truth (N,) blurred over neighbouring bins, of all nets."""
        told = (left / self.bin_steps - 1).clamp(0, BINS - 2)
        wanted = chances_of(torch.where(left.isinf(), torch.inf, told), BINS - 1)
        return -(wanted * self.logits(states).log_softmax(dim=-1)).sum(dim=-1).mean()

    def _middles(self) -> Tensor:
        return torch.arange(1, BINS) * float(self.bin_steps)


def _net(size: int) -> nn.Module:
    layers: list[nn.Module] = []
    for given in (size, _WIDTH, _WIDTH):
        layers += [nn.Linear(given, _WIDTH), nn.LayerNorm(_WIDTH), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(_WIDTH, BINS))


def fit_teacher(states: NDArray[np.float32], left: NDArray[np.float32], seed: int) -> Teacher:
    """Fit a teacher; the same states and seed give the same one.

    Args:
        states: (N, F).
        left: (N,) steps, 1 or more or infinite.
    """
    updates = min(_LEAST_UPDATES + len(states) // _STATES_AN_UPDATE, _MOST_UPDATES)
    finite = left[np.isfinite(left)]
    with _one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given, wanted = torch.from_numpy(states), torch.from_numpy(left)
        teacher = Teacher(given, float(np.quantile(np.append(finite, 1.0), 0.999)))
        optimizer = torch.optim.AdamW(teacher.parameters(), lr=_RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=updates + 1)
        for _ in range(updates):
            rows = torch.randint(len(given), (_BATCH,))
            optimizer.zero_grad()
            teacher.loss(given[rows], wanted[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return teacher.eval()


def taught(
    labelled: Sequence[tuple[Assignment, Labels]], seed: int
) -> list[tuple[Assignment, Labels]]:
    """The same labels with a teacher's where none are known; prints its error on what it never saw.

    A task all of whose frames are known has no teacher.

    Args:
        labelled: all episodes, in any number of tasks.
        seed: of the fits.
    """
    by_task: dict[str, list[tuple[Assignment, Labels]]] = defaultdict(list)
    for one in labelled:
        by_task[one[0].task].append(one)
    done: list[tuple[Assignment, Labels]] = []
    print(f"{'teacher':32} {'who':10} {'frames':>8} {'median':>8} {'rank r':>8} {'never':>8}")
    for task, episodes in sorted(by_task.items()):
        if not any(np.isnan(labels.left).any() for _, labels in episodes):
            done += episodes
            continue
        lessons = [one for number, (_, one) in enumerate(episodes) if number % _HELD_OUT]
        teacher = fit_teacher(*_lessons(lessons or [one for _, one in episodes]), seed)
        with _one_thread():
            said = [teacher(torch.from_numpy(labels.seen)).numpy() for _, labels in episodes]
        pairs = list(zip(episodes, said, strict=True))
        _print_errors(task, [(*one, left) for one, left in pairs[::_HELD_OUT]])
        done += [
            (a, replace(labels, left=np.where(np.isnan(labels.left), left, labels.left)))
            for (a, labels), left in pairs
        ]
    return done


def _lessons(
    episodes: Sequence[Labels],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """States (N, F) and steps (N,): what is known of frames, and of the ways from them."""
    states = [labels.seen for labels in episodes] + [labels.branches for labels in episodes]
    left = [labels.left for labels in episodes] + [labels.branches_left for labels in episodes]
    all_left = np.concatenate(left)
    known = all_left > 0.0  # neither unknown nor done
    return np.concatenate(states)[known], all_left[known]


def _print_errors(
    task: str, judged: Sequence[tuple[Assignment, Labels, NDArray[np.float32]]]
) -> None:
    """A line a player: on held-out frames that were played out, and how often "never" is right."""
    for source in sorted({a.source for a, _, _ in judged}):
        held = [(labels, said) for a, labels, said in judged if a.source == source]
        asked = np.concatenate([labels.asked for labels, _ in held])
        truth = np.concatenate([labels.left for labels, _ in held])[asked]
        said = np.concatenate([said for _, said in held])[asked]
        both = np.isfinite(truth) & np.isfinite(said)
        if not both.any():
            continue
        error = float(np.median(np.abs(truth[both] - said[both])))
        order = rank_correlation(truth[both], said[both])
        agreed = float(np.mean(np.isinf(truth) == np.isinf(said)))
        print(f"{task:32} {source:10} {len(truth):8} {error:8.2f} {order:8.2f} {agreed:8.1%}")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch adds up alike whatever this process has: labels are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
