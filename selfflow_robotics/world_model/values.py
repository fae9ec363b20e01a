"""What goes in and out of a world model: its configuration, encoded history, imagined futures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from ..data.action_spec import ActionSpec, StateSpec
from ..data.vocabulary import Vocabulary
from ..images.fit import How, ImageFit
from ..model.attention import Cache
from ..model.critic import CriticConfig
from ..model.dit import DiTConfig
from ..model.prior import PriorConfig
from ..storage.typed_yaml import build
from ..tokenizers.tokenizer import Tokenizer

_MOST_TOKENS = 2**16


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
    critic: CriticConfig | None = None

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

    def to_json(self) -> dict[str, Any]:
        """What :meth:`from_json` reads."""
        return {
            **vars(self),
            "network": asdict(self.network),
            "action_spec": self.action_spec.to_json() if self.action_spec else None,
            "state_spec": self.state_spec.to_json() if self.state_spec else None,
            "vocabulary": list(self.vocabulary.words),
            "prior": asdict(self.prior) if self.prior else None,
            "critic": asdict(self.critic) if self.critic else None,
        }

    @classmethod
    def from_json(
        cls, entries: Mapping[str, Any], tokenizer: Tokenizer, tensors: int
    ) -> WorldModelConfig:
        """The configuration in entries, some of which came with later versions.

        Args:
            tokenizer: which it must go with.
            tensors: of weights that there are; what would take long to build for none is refused,
                as are large positions, which none store.

        Raises:
            KeyError, TypeError, ValueError: an entry lacks, is no sound one, or fits no other.
        """

        def entry(name: str, kind: Any) -> Any:
            return build(entries[name], kind, name, "it")

        def later(name: str, kind: Any, default: Any) -> Any:
            return entry(name, kind) if name in entries else default

        network, image_size = entry("network", DiTConfig), entry("image_size", tuple[int, int])
        if network.depth > tensors or math.prod(network.grid) > _MOST_TOKENS:
            raise ValueError(
                f"a network of {network.depth} blocks and tokens in {network.grid}, with {tensors} "
                f"tensors of weights; at most {_MOST_TOKENS} tokens a frame"
            )
        actions, states = (
            entry(name, dict[str, Any] | None) for name in ("action_spec", "state_spec")
        )
        history_len, time_shift = entry("history_len", int), entry("time_shift", float)
        if history_len < 1 or not 0 < time_shift < math.inf:
            raise ValueError(f"history_len is {history_len} and time_shift {time_shift}")
        found = cls(
            network,
            entry("patch", int),
            image_size,
            history_len,
            ActionSpec.from_json(actions) if actions is not None else None,
            StateSpec.from_json(states) if states else None,
            Vocabulary(entry("vocabulary", tuple[str, ...]), network.max_words),
            time_shift,
            entry("prior", PriorConfig | None),
            later("text_encoder", str | None, None),
            ImageFit(image_size, later("image_fit", str, "crop")).how,
            later("camera_size", tuple[int, int] | None, None),
            later("critic", CriticConfig | None, None),
        )
        found._require_fit(tokenizer)
        return found

    def _require_fit(self, tokenizer: Tokenizer) -> None:
        rows, columns = tokenizer.latent_size(self.image_size)
        patch, network = self.patch, self.network
        made = (rows // patch, columns // patch), tokenizer.channels * patch**2
        if (self.action_spec is None) != (network.action_dim == 0):
            raise ValueError("action_spec does not go with the network's action_dim")
        if made != (network.grid, network.token_dim):
            raise ValueError(
                f"images of {self.image_size} make tokens of {made}, the network takes "
                f"{(network.grid, network.token_dim)}"
            )
        read = tokenizer.channels, rows, columns
        if self.critic is not None and self.critic.latent != read:
            raise ValueError(
                f"the critic reads latents of {self.critic.latent}, the tokenizer makes {read}"
            )
        felt = self.state_spec.size if self.state_spec else 0
        for name, part in (("policy prior", self.prior), ("critic", self.critic)):
            if part is not None and part.state_dim != felt:
                raise ValueError(
                    f"the {name} reads proprioception of {part.state_dim} entries, the model has "
                    f"{felt}"
                )
        if network.cells and network.patch != patch:
            raise ValueError(f"the network's cells are in patches of {network.patch}, not {patch}")
        told = {one.vocabulary for one in (network, self.prior, self.critic) if one}
        if not told <= {0, self.vocabulary.size}:
            raise ValueError(
                f"the vocabulary has {self.vocabulary.size} entries, those who read it know "
                f"{', '.join(map(str, sorted(told)))}"
            )


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
    Frames that do not attend to one another (`DiTConfig.markov`) are not sent clean and have no
    features. `last_BCHW` is the last frame that was seen. `more` are the values (B, K, H, tokens,
    size) of modalities that the network declares itself.
    """

    latents_BKHCHW: Tensor
    features_BKHMD: Tensor | None
    states_BKHP: Tensor | None
    actions_BKHA: Tensor
    last_BCHW: Tensor
    passes: int
    more: Mapping[str, Tensor] = field(default_factory=dict)
