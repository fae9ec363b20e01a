"""What a frame is told besides its tokens: timestep, step, label, action, instruction, text.

Their sum is a modulation row. A frame has few distinct timesteps, so rows are computed once per
distinct timestep and tokens pick theirs: exact, and far cheaper than a row a token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

_Part = TypeVar("_Part", bound=nn.Module)


@dataclass(frozen=True)
class Conditions:
    """What modulates T frames.

    `timesteps_BTR` holds the distinct timesteps of each frame and `row_BTM` which of them a token
    has (None: R is 1, or M with one a token). `action_BTA` is the known action that led to a frame,
    where `action_known_BT` is 1 (None: everywhere); `instruction_BTD` comes from
    `DiT.encode_instruction`, `text_BTE` from a frozen text encoder, both zeros where a frame has
    none. `step_BT` is the size of a frame's step along the schedule, 1 all the way; 0, as without
    it, asks for the velocity where the frame is. B and T may be 1 where all are the same.
    """

    timesteps_BTR: Tensor
    row_BTM: Tensor | None = None
    labels_B: Tensor | None = None
    action_BTA: Tensor | None = None
    action_known_BT: Tensor | None = None
    instruction_BTD: Tensor | None = None
    step_BT: Tensor | None = None
    text_BTE: Tensor | None = None


class TimestepEmbedder(nn.Module):
    """Sinusoids of t in [0, 1] (not scaled by 1000), then two layers: (...) -> (..., D)."""

    def __init__(self, width: int, frequencies: int = 256) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, timesteps: Tensor) -> Tensor:
        half = self.frequencies // 2
        exponent = torch.arange(half, device=timesteps.device, dtype=torch.float32) / half
        angle = timesteps.float()[..., None] * torch.exp(-math.log(10000.0) * exponent)
        return self.mlp(torch.cat((angle.cos(), angle.sin()), dim=-1))  # type: ignore[no-any-return]


class InstructionEncoder(nn.Module):
    """A sentence of a small vocabulary, order included: word indices (B, L), 0 pads -> (B, D)."""

    def __init__(self, vocabulary: int, width: int, max_words: int) -> None:
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(max_words, width)

    def forward(self, words_BL: Tensor) -> Tensor:
        """The sum over words of what each says where it stands, scaled to keep its size."""
        position = self.position.weight[: words_BL.shape[1]]
        # The product keeps "can near apple" and "apple near can" apart in the sum.
        words_BLD = nn.functional.silu(self.word(words_BL) * (1 + position) + position)
        known = (words_BL > 0).unsqueeze(-1)
        return (words_BLD * known).sum(dim=1) / known.sum(dim=1).clamp(min=1).sqrt()


class Conditioning(nn.Module):
    """Modulation rows (B, T, R, D) of T frames with R distinct timesteps each.

    B and T are 1 where nothing that is given differs along them.
    """

    def __init__(
        self,
        width: int,
        *,
        num_classes: int,
        action_dim: int,
        vocabulary: int,
        text_dim: int = 0,
        step_sizes: bool = False,
    ) -> None:
        super().__init__()
        self.timestep = TimestepEmbedder(width)
        self.step = TimestepEmbedder(width) if step_sizes else None
        self.label = nn.Embedding(num_classes, width) if num_classes else None
        self.action: nn.Sequential | None = None
        if action_dim:
            self.action = nn.Sequential(
                nn.Linear(action_dim, width), nn.SiLU(), nn.Linear(width, width)
            )
        self.instruction = nn.Linear(width, width) if vocabulary else None
        # Without a bias, a vector of zeros says nothing.
        self.text = nn.Linear(text_dim, width, bias=False) if text_dim else None

    def start_as_zero(self) -> None:
        """What an image model is not told begins without effect, so its checkpoint is unchanged."""
        start_at_zero(self.step and self.step.mlp[-1])
        start_at_zero(self.action and self.action[-1])
        start_at_zero(self.instruction)
        start_at_zero(self.text)

    def forward(self, given: Conditions) -> Tensor:
        rows: Tensor = self.timestep(given.timesteps_BTR)
        if given.labels_B is not None:
            label = _built(self.label, "class labels (num_classes=0)")
            rows = rows + label(given.labels_B)[:, None, None]
        if given.action_BTA is not None:
            action = _built(self.action, "actions (action_dim=0)")(given.action_BTA)
            if given.action_known_BT is not None:
                action = action * given.action_known_BT[..., None]
            rows = rows + action[:, :, None]
        if given.instruction_BTD is not None:
            instruction = _built(self.instruction, "instructions (vocabulary=0)")
            rows = rows + instruction(given.instruction_BTD)[:, :, None]
        if given.step_BT is not None:
            step = _built(self.step, "step sizes (step_sizes=False)")(given.step_BT)
            rows = rows + (step * (given.step_BT > 0)[..., None])[:, :, None]
        if given.text_BTE is not None:
            text = _built(self.text, "a text encoder's width (text_dim=0)")
            rows = rows + text(given.text_BTE)[:, :, None]
        return rows


def start_at_zero(linear: nn.Module | None) -> None:
    """Have a layer give nothing at first, where there is one."""
    for parameter in linear.parameters() if linear is not None else ():
        nn.init.zeros_(parameter)


def _built(part: _Part | None, what: str) -> _Part:
    if part is None:
        raise ValueError(f"this model was built without {what}")
    return part


def select_rows(rows_BTRX: Tensor, row_BTM: Tensor | None) -> Tensor:
    """The row of each token, (B, T, M, X); with `row_BTM` None, rows as they are (R is 1 or M).

    A product with a one-hot matrix: its backward pass is a product too, where that of an index is
    a slow scatter on CPU.
    """
    if row_BTM is None:
        return rows_BTRX
    choice = torch.nn.functional.one_hot(row_BTM, rows_BTRX.shape[2]).to(rows_BTRX.dtype)
    return choice @ rows_BTRX
