"""Whether a world model learns the right thing: follows actions, beats a still frame, can act."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.clips import LatentEpisodes
from ..world_model.world_model import WorldModel
from .trainer import Evaluate

IGNORES_ACTIONS = 1.05


@dataclass(frozen=True)
class Diagnosis:
    """Mean squared errors of the next frame's latents, imagined in one step from pure noise.

    `unexplained` is about the next action it proposes, in one step as well: its mean squared error
    from what was demonstrated, over the variance of that; None where nothing was.
    """

    true_actions: float
    shuffled_actions: float
    copy: float
    unexplained: float | None = None

    @property
    def shuffled_ratio(self) -> float:
        """Error with another clip's actions over error with the true ones; 1 ignores actions."""
        return self.shuffled_actions / self.true_actions

    @property
    def copy_ratio(self) -> float:
        """Error of keeping the last frame over the model's; above 1 beats a still frame."""
        return self.copy / self.true_actions

    @property
    def warning(self) -> str | None:
        """What is wrong, in a sentence; None if nothing is."""
        if self.shuffled_ratio < IGNORES_ACTIONS:
            return (
                f"the model ignores actions: with another clip's actions its error is "
                f"{self.shuffled_ratio:.2f} times that with the true ones"
            )
        if self.copy_ratio < 1:
            return f"the model is worse than keeping the last frame: {self.copy_ratio:.2f} times"
        return None


def share_unexplained(proposed_BA: Tensor, demonstrated_BA: Tensor) -> float | None:
    """Mean squared error over the demonstrations' variance; None where these are all the same."""
    spread = demonstrated_BA.var(dim=0, correction=0).sum()
    if spread == 0:
        return None
    return float((proposed_BA - demonstrated_BA).square().mean(dim=0).sum() / spread)


def diagnose(
    world_model: WorldModel, episodes: LatentEpisodes, clips: int = 256, seed: int = 0
) -> Diagnosis:
    """Imagine one frame after `history_len` frames of clips drawn from held-out episodes.

    Raises:
        ValueError: the episodes have no actions, or none is long enough.
    """
    if episodes.actions is None:
        raise ValueError("a diagnosis needs episodes with actions")
    history = world_model.config.history_len
    starts = episodes.starts(history + 1)
    if len(starts) < 2:
        raise ValueError(
            f"held-out episodes hold {len(starts)} clips of {history + 1} frames; give more"
        )
    random = np.random.default_rng(seed)
    chosen_starts = random.choice(starts, min(clips, len(starts)), False)
    batch = episodes.clips(chosen_starts, history + 1).to(world_model.device)
    assert batch.action_BTA is not None and batch.imitate_BT is not None
    told = None
    if world_model.config.vocabulary.words and any(episodes.texts):
        told = episodes.instructions_at(chosen_starts + history - 1)
    state = None if batch.state_BTP is None else batch.state_BTP[:, :history]
    context = world_model.observe_latents(
        batch.latents_BTCHW[:, :history], batch.action_BTA[:, :history], state, told
    )
    truth, last = batch.latents_BTCHW[:, history], batch.latents_BTCHW[:, history - 1]
    actions = world_model.action_spec.denormalize(batch.action_BTA[:, history])

    def error(chosen: Tensor) -> float:
        future = world_model.rollout(context, chosen[:, None, None])
        return float(torch.mean((future.latents_BKHCHW[:, 0, 0] - truth) ** 2))

    unexplained = None
    shown = batch.imitate_BT[:, history]
    if world_model.config.network.acts and told is not None and shown.sum() > 1:
        streams = [torch.Generator().manual_seed(seed) for seed in range(context.batch)]
        proposed = world_model.propose(context, 1, 1, steps=1, generator=streams)[:, 0, 0]
        proposed = world_model.action_spec.normalize(proposed)
        unexplained = share_unexplained(proposed[shown], batch.action_BTA[shown, history])
    return Diagnosis(
        error(actions),
        error(actions.roll(1, dims=0)),
        float(torch.mean((last - truth) ** 2)),
        unexplained,
    )


def held_out_errors(history: int, held_out: LatentEpisodes | None) -> Evaluate | None:
    """What is measured on held-out episodes while training goes on."""
    if held_out is None or len(held_out.starts(history + 1)) < 2:
        print("the few held-out episodes are not enough to judge the model by; collect more")
        return None

    def evaluate(model: WorldModel, step: int) -> dict[str, float]:
        found = diagnose(model, held_out)
        if found.warning:
            print(f"warning at step {step}: {found.warning}")
        values = {
            "next_frame": found.true_actions,
            "shuffled_ratio": found.shuffled_ratio,
            "copy_ratio": found.copy_ratio,
        }
        return values | ({} if found.unexplained is None else {"unexplained": found.unexplained})

    return evaluate
