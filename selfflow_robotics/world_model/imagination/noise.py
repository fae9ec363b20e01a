"""What imagined futures start from: noise from a random stream a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange, repeat
from torch import Tensor

from ...model.dit import DiTConfig
from ...model.modality import ACTION, VIDEO
from ...model.tokens import Frames
from ...streams import normal


@dataclass(frozen=True)
class Noise:
    """Noise (B, H, ...) of what follows, by modality; the same for all candidates of a row."""

    values: Mapping[str, Tensor]

    def frames(self, rows: slice, actions_BKHA: Tensor) -> Frames:
        """Frames (rows * K, H, ...) of some of the rows, led to by these actions."""
        repeated = partial(repeat, pattern="b ... -> (b k) ...", k=actions_BKHA.shape[1])
        values = {name: repeated(value[rows]) for name, value in self.values.items()}
        led = rearrange(actions_BKHA, "b k h a -> (b k) h a")
        return Frames(values[VIDEO], action_BTA=led).with_values(values)


def shared_noise(
    network: DiTConfig, horizon: int, streams: Sequence[torch.Generator], like: Tensor
) -> Noise:
    """A stream a row; frame after frame, so that a longer horizon begins as a shorter one."""
    shown = [one for one in network.modalities if one.name != ACTION]
    drawn = [[normal(streams, *one.shape) for one in shown] for _ in range(horizon)]
    return Noise(
        {
            one.name: torch.stack(frames, dim=1).to(like)
            for one, frames in zip(shown, zip(*drawn, strict=True), strict=True)
        }
    )


def own_noise(
    network: DiTConfig,
    candidates: int,
    horizon: int,
    streams: Sequence[torch.Generator],
    like: Tensor,
) -> dict[str, Tensor]:
    """Noise (B, K, H, ...) of every modality, actions too: each candidate its own."""
    # In the order in which random numbers have always been drawn: actions last of the first three.
    order = sorted(network.modalities, key=lambda one: (one in network.more, one.name == ACTION))
    drawn = {one.name: normal(streams, candidates, horizon, *one.shape).to(like) for one in order}
    return {one.name: drawn[one.name] for one in network.modalities}
