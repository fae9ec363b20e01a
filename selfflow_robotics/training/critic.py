"""Fits a critic to steps that are known, and where they are not, to what episodes show."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from ..data.clips import LatentEpisodes
from ..model.critic import Critic, Head
from ..model.prior import PolicyPrior
from ..model.step_chances import chances_of
from ..world_model.rank_correlation import rank_correlation
from .config import CriticTraining
from .imagined_frames import AHEAD, Imagined
from .step_targets import Asked, StepTargets, known_steps, later_by

_SLOW = 0.99  # decay of the average that is asked from frames further on


def fit_critic(
    critic: Critic,
    episodes: LatentEpisodes,
    config: CriticTraining,
    imagined: Imagined | None = None,
) -> None:
    """Train in place.

    Each step asks of some frames how many steps their instruction still needs, and of some how many
    a goal does. Noise on latents and proprioception keeps the critic from knowing frames by heart.
    The frame that it is told was seen before lies up to `AHEAD` steps back.

    Args:
        imagined: the same episodes as a world model imagines them; a share of the rows is read from
            these, with the targets of the true ones.

    Raises:
        ValueError: nothing tells it a number of steps.
    """
    targets = _checked(episodes, config)
    slow = copy.deepcopy(critic).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(
        critic.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    generator = torch.Generator().manual_seed(config.seed)
    critic.requires_grad_(True).train()
    firsts = episodes.offsets[:-1].repeat(episodes.lengths)
    bar = tqdm(range(config.steps), desc="critic", unit="step")
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        losses = []
        for asked in _questions(targets, config, generator):
            back = torch.randint(AHEAD + 1, (len(asked.frames),), generator=generator).numpy()
            before = np.maximum(asked.frames - back, firsts[asked.frames])
            rows = _Rows.of(episodes, asked.frames, asked.goals, before)
            if imagined is not None:
                swap = torch.rand(len(asked.frames), generator=generator) < config.imagined
                rows = _exchanged(rows, imagined, asked.frames, swap)
            logits = rows.noised(config, generator).ask(critic)
            target = _target(slow, episodes, asked)
            losses.append(_losses(logits, target, asked.sure, config.expectile))
        loss = torch.cat(losses).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _follow(slow, critic)
        if step % 100 == 0:
            bar.set_postfix(loss=f"{loss.item():.3f}")
    critic.eval()


def start_from_prior(critic: Critic, prior: PolicyPrior) -> None:
    """Let the first head begin with how a policy prior of the same sizes sees.

    The prior has learned to find things from every demonstration. The other heads begin apart from
    it, so as to err apart.
    """
    first = critic.heads[0]
    for name in ("words", "film", "find", "place"):
        getattr(first, name).load_state_dict(getattr(prior, name).state_dict())
    for head in critic.heads:
        assert isinstance(head, Head)
        nn.init.zeros_(head.find_before.weight)


def _checked(episodes: LatentEpisodes, config: CriticTraining) -> StepTargets:
    targets = StepTargets(episodes, config.ahead)
    told = episodes.words is not None and len(targets.frames) > 0
    counted = np.isfinite(targets.known[targets.frames]).any()
    if not told or not (
        counted or (episodes.steps_to_success[targets.frames] <= config.ahead).any()
    ):
        raise ValueError(
            "no episode with an instruction succeeds, so nothing tells a critic when a task is "
            "done; record successful episodes, or leave it out: critic.steps=0"
        )
    return targets


def _questions(
    targets: StepTargets, config: CriticTraining, generator: torch.Generator
) -> list[Asked]:
    """The rows of a batch: of instructions, and of goals."""
    of_goals = round(config.goals * config.batch_size) if len(targets.begun) else 0
    asked = []
    if of_words := config.batch_size - of_goals:
        asked.append(targets.of_words(_drawn(targets.frames, of_words, generator)))
    if of_goals:
        asked.append(targets.of_goals(_drawn(targets.begun, of_goals, generator), generator))
    return asked


def _drawn(frames: NDArray[np.int64], number: int, generator: torch.Generator) -> NDArray[np.int64]:
    chosen = torch.randint(len(frames), (number,), generator=generator).numpy()
    return frames[chosen]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Rows:
    """What a critic reads, B rows; where there is a goal it is asked for, else the words are."""

    latents: Tensor
    state: Tensor | None
    words: Tensor | None = None
    goal: Tensor | None = None
    goal_state: Tensor | None = None
    before: Tensor | None = None

    @classmethod
    def of(
        cls,
        episodes: LatentEpisodes,
        frames: NDArray[np.int64],
        goals: NDArray[np.int64] | None = None,
        before: NDArray[np.int64] | None = None,
    ) -> _Rows:
        seen = episodes.latents_at(frames), _states_at(episodes, frames)
        last = None if before is None else episodes.latents_at(before)
        if goals is None:
            return cls(*seen, episodes.words_at(frames), before=last)
        return cls(*seen, None, episodes.latents_at(goals), _states_at(episodes, goals), last)

    def noised(self, config: CriticTraining, generator: torch.Generator) -> _Rows:
        deviation = {"latents": config.noise, "state": config.state_noise}
        deviation |= {"goal": config.noise, "goal_state": config.state_noise}
        deviation |= {"before": config.noise}
        shaken = {
            name: value + deviation[name] * torch.randn(value.shape, generator=generator)
            for name, value in vars(self).items()
            if value is not None and name in deviation
        }
        return replace(self, **shaken)

    def ask(self, critic: Critic) -> Tensor:
        """Logits (B, heads, N)."""
        device = next(critic.parameters()).device
        given = (None if one is None else one.to(device) for one in vars(self).values())
        return critic(*given)  # type: ignore[no-any-return]


def _states_at(episodes: LatentEpisodes, frames: NDArray[np.int64]) -> Tensor | None:
    return None if episodes.states is None else torch.from_numpy(episodes.states[frames])


def _exchanged(rows: _Rows, imagined: Imagined, frames: NDArray[np.int64], swap: Tensor) -> _Rows:
    """The rows, some as they were imagined, from the frame that was seen before."""
    assert rows.before is not None
    episodes, seen = imagined.episodes, imagined.seen_from[frames]
    swap_cells = swap[:, None, None, None]
    latents = torch.where(swap_cells, episodes.latents_at(frames), rows.latents)
    before = torch.where(swap_cells, episodes.latents_at(seen), rows.before)
    state = _states_at(episodes, frames)
    if state is not None and rows.state is not None:
        state = torch.where(swap[:, None], state, rows.state)
    return replace(rows, latents=latents, state=state, before=before)


@torch.no_grad()
def _target(slow: Critic, episodes: LatentEpisodes, asked: Asked) -> Tensor:
    """Chances (B, heads, N) of the steps from the frames asked about."""
    most, heads = slow.config.most, slow.config.heads
    steps = torch.from_numpy(asked.steps)
    found = chances_of(steps.nan_to_num(0.0, posinf=most), most)[:, None].repeat(1, heads, 1)
    open_rows = np.flatnonzero(np.isnan(asked.steps))
    if len(open_rows):
        goals = None if asked.goals is None else asked.goals[open_rows]
        further = _Rows.of(episodes, (asked.frames + asked.gap)[open_rows], goals)
        chance = further.ask(slow).float().softmax(dim=-1).cpu()
        found[torch.from_numpy(open_rows)] = later_by(
            chance, torch.from_numpy(asked.gap[open_rows])
        )
    return found


def _losses(logits: Tensor, target: Tensor, sure: NDArray[np.bool_], expectile: float) -> Tensor:
    """Cross-entropies (B, heads).

    Where the target is what somebody took, those of fewer steps than expected weigh more: what
    counts is how few are needed.
    """
    target = target.to(logits.device)
    entropy = -(target * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    steps = torch.arange(target.shape[-1], device=target.device, dtype=target.dtype)
    longer = target @ steps > Critic.steps(logits.detach())
    weight = 2 * torch.where(longer, expectile, 1 - expectile)
    known = torch.from_numpy(sure).to(logits.device)[:, None]
    return entropy * torch.where(known, 1.0, weight)


@torch.no_grad()
def _follow(slow: Critic, critic: Critic) -> None:
    for average, value in zip(slow.parameters(), critic.parameters(), strict=True):
        average.lerp_(value, 1 - _SLOW)


@dataclass(frozen=True)
class CriticError:
    """How well steps of held-out frames are told: those of frames from which the task is done."""

    frames: int
    median: float  # of the absolute error, steps
    rank: float  # correlation of ranks
    doubt: float  # correlation of the heads' disagreement with the error


@torch.no_grad()
def critic_errors(
    critic: Critic,
    episodes: LatentEpisodes,
    most: int = 4000,
    apart: NDArray[np.str_] | None = None,
) -> dict[str, CriticError]:
    """Errors on frames of which steps are known, by the first word of their instruction.

    Args:
        most: of each, so many frames.
        apart: names (S,) to tell frames apart by instead.
    """
    truth = known_steps(episodes)
    if apart is None:
        apart = np.array([str(text).partition(" ")[0] for text in episodes.texts])[episodes.told]
    found = {}
    for word in sorted(set(apart.tolist()) - {""}):
        frames = np.flatnonzero((apart == word) & (truth < critic.config.most))
        if len(frames) < 2:
            continue
        frames = frames[np.linspace(0, len(frames) - 1, min(most, len(frames))).astype(np.int64)]
        logits = torch.cat([_Rows.of(episodes, some).ask(critic) for some in _batches(frames)])
        steps = critic.steps(logits).cpu().numpy()
        error = np.abs(steps.mean(axis=1) - truth[frames])
        found[word] = CriticError(
            len(frames),
            float(np.median(error)),
            rank_correlation(steps.mean(axis=1), truth[frames]),
            rank_correlation(steps.std(axis=1), error),
        )
    return found


def _batches(frames: NDArray[np.int64], size: int = 512) -> list[NDArray[np.int64]]:
    return np.array_split(frames, -(-len(frames) // size))
