"""From what an environment shows and is told to what a network reads, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.dit import DiT
from ..tokenizers.tokenizer import Tokenizer
from .values import Context, WorldModelConfig


class Translation:
    """Pictures, proprioception, instructions and actions of a world model's environments."""

    def __init__(self, config: WorldModelConfig, tokenizer: Tokenizer, network: DiT) -> None:
        self.config, self.tokenizer, self.network = config, tokenizer, network

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return self.network.tokens_in.positions.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the network's weights."""
        return self.network.final_modulation.weight.dtype

    def latents(self, images: Tensor) -> Tensor:
        """(B, S, C, h, w) of videos (B, T, height, width, 3)."""
        return self.tokenizer.encode_videos(images.to(self.device)).to(self.dtype)

    def states(
        self, states: NDArray[np.float32] | Tensor | None, batch: int, count: int
    ) -> Tensor | None:
        """(B, S, P) normalised; zeros where they are not known, None where there are none."""
        spec = self.config.state_spec
        if spec is None:
            return None
        if states is None:
            return torch.zeros(batch, count, spec.size, device=self.device)
        values = torch.as_tensor(states, dtype=torch.float32, device=self.device)
        if values.shape != (batch, count, spec.size):
            raise ValueError(
                f"states have shape {tuple(values.shape)}; give "
                f"{(batch, count, spec.size)}: {spec.names}"
            )
        return spec.normalize(values)

    def instruction(
        self, instruction: str | Sequence[str] | None, batch: int
    ) -> tuple[Tensor | None, tuple[str, ...] | None, Tensor | None]:
        """Words (B, L), texts and vectors (B, D)."""
        if instruction is None:
            return None, None, None
        texts = (instruction,) * batch if isinstance(instruction, str) else tuple(instruction)
        if len(texts) != batch:
            raise ValueError(f"{len(texts)} instructions for {batch} rows; give one a row")
        words = torch.from_numpy(self.config.vocabulary.encode(texts)).to(self.device)
        return words, texts, self.network.encode_instruction(words)

    def actions(self, context: Context, actions_BKHA: Tensor) -> Tensor:
        """As float32 where the network is, if they are such as the context's environments take."""
        shape, size = actions_BKHA.shape, self.config.known_actions.size
        if len(shape) != 4 or shape[0] != context.batch or shape[3] != size or 0 in shape:
            raise ValueError(
                f"actions have shape {tuple(shape)}; give ({context.batch}, K, H, {size})"
            )
        return actions_BKHA.to(self.device, torch.float32)

    def in_units(self, normalised: Tensor) -> Tensor:
        """Actions in the environment's units, within its bounds."""
        spec = self.config.known_actions
        actions = spec.denormalize(normalised.float().clamp(-1, 1))
        low, high = (actions.new_tensor(bound) for bound in (spec.low, spec.high))
        return actions.clamp(low, high)
