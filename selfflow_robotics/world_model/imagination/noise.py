"""What imagined futures start from: noise from a random stream a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange, repeat
from torch import Tensor

from ...model.dit import DiTConfig, Frames
from ...streams import normal


@dataclass(frozen=True)
class Noise:
    """Noise of H frames of B rows, the same for all candidates of a row."""

    video_BHNC: Tensor
    state_BHP: Tensor | None

    def frames(self, rows: slice, actions_BKHA: Tensor) -> Frames:
        """Frames (rows * K, H, ...) of some of the rows, led to by these actions."""
        repeated = partial(repeat, pattern="b ... -> (b k) ...", k=actions_BKHA.shape[1])
        return Frames(
            repeated(self.video_BHNC[rows]),
            action_BTA=rearrange(actions_BKHA, "b k h a -> (b k) h a"),
            state_BTP=None if self.state_BHP is None else repeated(self.state_BHP[rows]),
        )


def shared_noise(
    network: DiTConfig, horizon: int, streams: Sequence[torch.Generator], like: Tensor
) -> Noise:
    """A stream a row; frame after frame, so that a longer horizon begins as a shorter one."""
    tokens = network.grid[0] * network.grid[1]
    video, state = [], []
    for _ in range(horizon):
        video.append(normal(streams, tokens, network.token_dim))
        if network.state_dim:
            state.append(normal(streams, network.state_dim))
    return Noise(
        torch.stack(video, dim=1).to(like),
        torch.stack(state, dim=1).to(like) if state else None,
    )


def own_noise(
    network: DiTConfig,
    candidates: int,
    horizon: int,
    streams: Sequence[torch.Generator],
    like: Tensor,
) -> tuple[Tensor, ...]:
    """Video (B, K, H, N, C), actions and, where there is any, proprioception: each its own."""
    tokens = network.grid[0] * network.grid[1]
    video = normal(streams, candidates, horizon, tokens, network.token_dim)
    state = [normal(streams, candidates, horizon, network.state_dim)] if network.state_dim else []
    action = normal(streams, candidates, horizon, network.action_dim)
    return tuple(part.to(like) for part in (video, action, *state))
