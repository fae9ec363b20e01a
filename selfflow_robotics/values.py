"""What goes in and out of a world model: its configuration, encoded history, imagined futures."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .data.action_spec import ActionSpec, StateSpec
from .data.vocabulary import Vocabulary
from .model.attention import Cache
from .model.dit import DiTConfig
from .model.prior import PriorConfig


@dataclass(frozen=True)
class WorldModelConfig:
    """Everything but the weights; steps of denoising lie as training's timesteps did.

    `text_encoder` is the model of transformers (a folder, or its name on the Hub) whose vectors of
    `network.text_dim` values the network was told; see `training.text_vectors`.
    """

    network: DiTConfig
    patch: int
    image_size: tuple[int, int]
    history_len: int
    action_spec: ActionSpec
    state_spec: StateSpec | None
    vocabulary: Vocabulary
    time_shift: float = 1.0
    prior: PriorConfig | None = None
    text_encoder: str | None = None


@dataclass(frozen=True)
class Context:
    """Encoded history of a batch of B environments. Opaque to planners but for `batch`."""

    batch: int
    cache: Cache
    anchor_BNC: Tensor
    state_BP: Tensor | None
    words_BL: Tensor | None
    instruction: tuple[str, ...] | None
    instruction_BD: Tensor | None


@dataclass(frozen=True)
class Rollout:
    """K imagined futures of H frames for each of B environments; `passes` counts their frames."""

    latents_BKHCHW: Tensor
    features_BKHMD: Tensor
    states_BKHP: Tensor | None
    passes: int
