"""What goes in and out of a world model: its configuration, encoded history, imagined futures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..data.action_spec import ActionSpec, StateSpec
from ..data.vocabulary import Vocabulary
from ..images.fit import How
from ..model.attention import Cache
from ..model.dit import DiTConfig
from ..model.prior import PriorConfig


@dataclass(frozen=True)
class WorldModelConfig:
    """Everything but the weights; steps of denoising lie as training's timesteps did.

    Pictures are made `image_size` as :class:`ImageFit` with `image_fit` does; those that it was
    trained on had `camera_size`, or that size already where it is None. `action_spec` is None in a
    model of video, which never saw an action.

    `text_encoder` is the model of transformers (a folder, or its name on the Hub) whose vectors of
    `network.text_dim` values the network was told; see `training.text_vectors`.
    """

    network: DiTConfig
    patch: int
    image_size: tuple[int, int]
    history_len: int
    action_spec: ActionSpec | None
    state_spec: StateSpec | None
    vocabulary: Vocabulary
    time_shift: float = 1.0
    prior: PriorConfig | None = None
    text_encoder: str | None = None
    image_fit: How = "crop"
    camera_size: tuple[int, int] | None = None

    @property
    def known_actions(self) -> ActionSpec:
        """`action_spec`.

        Raises:
            ValueError: it is a model of video, which knows none.
        """
        if self.action_spec is None:
            raise ValueError(
                "this model was pretrained on video and never saw an action, so it can neither be "
                "told actions nor propose them; train it on the episodes of a robot: "
                '"selfflow finetune start=FOLDER data=FOLDER"'
            )
        return self.action_spec


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
    """K imagined futures of H frames for each of B environments.

    `actions_BKHA` are those asked for, in the environment's units, as float32 on the model's
    device. `passes` counts frames sent through the network: each frame of each candidate once a
    denoising step and once more, clean, for its features; those of history are not counted.
    `last_BCHW` is the last frame that was seen. `more` are the values (B, K, H, tokens, size) of
    modalities that the network declares itself.
    """

    latents_BKHCHW: Tensor
    features_BKHMD: Tensor
    states_BKHP: Tensor | None
    actions_BKHA: Tensor
    last_BCHW: Tensor
    passes: int
    more: Mapping[str, Tensor] = field(default_factory=dict)
