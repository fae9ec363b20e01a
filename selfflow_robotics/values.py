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
    """Everything but the weights; steps of denoising lie as training's timesteps did."""

    network: DiTConfig
    patch: int
    image_size: tuple[int, int]
    history_len: int
    action_spec: ActionSpec
    state_spec: StateSpec | None
    vocabulary: Vocabulary
    time_shift: float = 1.0
    prior: PriorConfig | None = None


@dataclass(frozen=True)
class Context:
    """Encoded history of a batch of B environments. Opaque to planners but for `batch`.

    `last_action_BA`, in the environment's units, led to the newest frame; None where it is unknown.
    """

    batch: int
    cache: Cache
    anchor_BNC: Tensor
    state_BP: Tensor | None
    words_BL: Tensor | None
    instruction: tuple[str, ...] | None
    instruction_BD: Tensor | None
    last_action_BA: Tensor | None = None


@dataclass(frozen=True)
class Rollout:
    """K imagined futures of H frames for each of B environments; `passes` counts their frames.

    `actions_BKHA` are those asked for, in the environment's units.
    """

    latents_BKHCHW: Tensor
    features_BKHMD: Tensor
    states_BKHP: Tensor | None
    actions_BKHA: Tensor
    passes: int
