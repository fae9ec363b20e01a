"""Do costs towards a goal image order true frames by their distance in steps?

    python benchmarks/goal_order.py DATA [--json]

Held-out episodes of an RT-1-format data set; three goals each, at half, three quarters and the end.
Prints the rank correlation of each cost with the true steps, averaged over episodes and goals.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.formats import open_dataset
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.split import OneSide
from selfflow_robotics.training.probe import clean_features
from selfflow_robotics.world_model.world_model import WorldModel

EPISODES, SHORTEST, NEAR = 25, 12, 4


def rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Spearman's, with equal values sharing their rank; NaN where all are equal."""

    def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(count) - (count + 1) / 2)[place]

    a, b = ranks(one), ranks(other)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def costs(
    model: WorldModel, seen: tuple[Tensor, Tensor], goal: Tensor, state: Tensor
) -> dict[str, Tensor]:
    """Every cost of frames (features and latents) towards one goal."""
    features, latents = seen
    found = {"latents": (latents - goal).square().mean((1, 2, 3))}
    for label, known in (("with state", state), ("picture alone", None)):
        goal_features = model.goal_features(goal, known)
        steps = model.steps_head(features, goal_features.expand(len(features), -1, -1))
        found[f"steps, {label}"] = steps.expm1()
        likeness = F.cosine_similarity(features, goal_features, dim=-1).mean(-1)
        found[f"features, {label}"] = 1 - likeness
    return found


@torch.no_grad()
def measure(model: WorldModel, episodes: LatentEpisodes) -> dict[str, dict[str, float]]:
    """Mean rank correlation by cost: over all frames before the goal, near ones and far ones."""
    assert episodes.states is not None
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    history = model.config.history_len
    for first, last in zip(episodes.offsets[:-1], episodes.offsets[1:], strict=True):
        if last - first < SHORTEST:
            continue
        starts = np.arange(first, last - history)
        clips = episodes.clips(starts, history + 1)
        assert clips.action_BTA is not None and clips.state_BTP is not None
        features = clean_features(model, clips.latents_BTCHW, clips.action_BTA, clips.state_BTP)
        seen = features[:, history], clips.latents_BTCHW[:, history]
        for share in (0.5, 0.75, 1.0):
            at = np.array([first + round((last - first - 1) * share)])
            left = (at - (starts + history)).astype(np.float64)
            goal = costs(
                model, seen, episodes.latents_at(at), torch.from_numpy(episodes.states[at])
            )
            parts = {"all": left > 0, "near": (left > 0) & (left <= NEAR), "far": left > NEAR}
            for name, cost in goal.items():
                for part, frames in parts.items():
                    if frames.sum() >= NEAR:
                        there = rank_correlation(cost.double().numpy()[frames], left[frames])
                        found[name][part].append(there)
    return {
        name: {part: float(np.nanmean(values)) for part, values in parts.items()}
        for name, parts in found.items()
    }


def main() -> None:
    """Measure the shipped model and print."""
    model = WorldModel.from_pretrained("tabletop-small").requires_grad_(False)
    side = OneSide(open_dataset(sys.argv[1]), "held-out")
    side.index = side.index[:EPISODES]
    episodes = encode_episodes(
        side, model.tokenizer, actions=model.step_spec, states=model.state_spec
    )
    found = measure(model, episodes)
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, parts in found.items():
        print(f"{name:24}" + "  ".join(f"{part} {value:+.2f}" for part, value in parts.items()))


if __name__ == "__main__":
    main()
