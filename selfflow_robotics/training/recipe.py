"""From a command's configuration to a world model and its objective."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ..data.action_spec import ActionSpec, StateSpec
from ..data.datasets import Dataset
from ..data.episode import Episode
from ..data.held_out import split_of
from ..data.vocabulary import Vocabulary
from ..flow.noising import Noising
from ..flow.objectives import FlowMatching, Repa, SelfFlow, Sra
from ..flow.shortcut import Shortcut
from ..flow.timesteps import SRA_GAP, TimestepDistribution
from ..model import released
from ..model.dit import MAX_WORDS, DiTConfig
from ..model.presets import preset
from ..model.prior import PriorConfig
from ..pretrained import load_world_model
from ..tokenizers import stored
from ..tokenizers.tokenizer import Tokenizer
from ..values import WorldModelConfig
from ..world_model import WorldModel
from .config import ModelConfig, ObjectiveConfig
from .frame_features import FrameFeatures


def build_objective(
    config: ObjectiveConfig, patch: int, min_prefix: int, tokenizer: Tokenizer
) -> FlowMatching:
    """The objective; `min_prefix` is 0 where a clip may have no clean frame.

    Raises:
        ValueError: REPA's encoder is not given or cannot be used.
    """
    noising = Noising(
        TimestepDistribution(config.distribution, config.shift),
        config.mask_ratio if config.name == "self_flow" else 0.0,
        (config.world_model, config.policy, config.inverse),
        min_prefix,
        per_frame=config.name == "diffusion_forcing",
        gap=SRA_GAP if config.name == "sra" else 0.0,
        shortcut=config.shortcut,
    )
    objective = _base(config, noising, patch, tokenizer)
    return Shortcut(objective) if config.shortcut else objective


def _base(
    config: ObjectiveConfig, noising: Noising, patch: int, tokenizer: Tokenizer
) -> FlowMatching:
    weights = {"action": config.action_weight, "proprioception": config.state_weight}
    if config.name == "self_flow":
        return SelfFlow(noising, patch, weights, config.representation)
    if config.name == "sra":
        return Sra(noising, patch, weights, config.representation)
    if config.name == "repa":
        if config.encoder is None:
            raise ValueError(
                "repa needs a DINOv2 encoder: add objective.encoder=FOLDER, or a name on the Hub"
            )
        features = FrameFeatures(config.encoder, tokenizer, patch)
        return Repa(noising, patch, features, weights, config.representation)
    return FlowMatching(noising, patch, weights)


class OneSide:
    """The episodes of a data set on one side of the split by episode."""

    def __init__(self, source: Dataset, side: Literal["train", "held-out"]) -> None:
        self.source = source
        self.name = f"{source.name} {side}"
        self.image_size = source.image_size
        self.side = side
        self.index = [i for i in range(len(source)) if split_of(f"{source.split}/{i}") == side]

    @property
    def identity(self) -> Mapping[str, Any]:
        """See :attr:`EpisodeSource.identity`."""
        return {**self.source.identity, "side": self.side}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Episode:
        return self.source[self.index[i]]


def build_world_model(
    model: ModelConfig,
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    actions: ActionSpec,
    states: StateSpec | None,
    vocabulary: Vocabulary,
    time_shift: float = 1.0,
    with_prior: bool = False,
    step_sizes: bool = False,
    text_encoder: str | None = None,
    text_dim: int = 0,
) -> WorldModel:
    """A world model with random weights that begins by keeping the last frame.

    With `text_dim` its network is told vectors of that many values, which `text_encoder` makes.
    """
    sizes = preset(model.preset)
    rows, columns = tokenizer.latent_size(image_size)
    if rows % model.patch or columns % model.patch:
        raise ValueError(
            f"latents of {rows}x{columns} do not divide into patches of {model.patch}; change "
            "model.patch or the image size"
        )
    network = DiTConfig(
        token_dim=tokenizer.channels * model.patch**2,
        grid=(rows // model.patch, columns // model.patch),
        width=sizes.width,
        depth=sizes.depth,
        heads=sizes.heads,
        mlp_ratio=sizes.mlp_ratio,
        action_dim=actions.size,
        state_dim=states.size if states else 0,
        vocabulary=vocabulary.size if vocabulary.words else 0,
        step_sizes=step_sizes,
        text_dim=text_dim,
    )
    latent = (tokenizer.channels, rows, columns)
    prior = PriorConfig(
        latent, states.size if states else 0, actions.size, vocabulary.size, MAX_WORDS
    )
    config = WorldModelConfig(
        network,
        model.patch,
        image_size,
        model.history_len,
        actions,
        states,
        vocabulary,
        time_shift,
        prior if with_prior else None,
        text_encoder,
    )
    world_model = WorldModel(config, tokenizer.requires_grad_(False))
    world_model.network.start_from_anchor()
    return world_model


def start_from(world_model: WorldModel, start: Path) -> int:
    """Take over the weights of a world model's folder, or of the published image checkpoint.

    Parts that the start lacks, or has in another size, stay as they are; so do words where it knows
    others, and what captions say where another text encoder read them. The tokenizer is not taken.

    Returns:
        The number of weights taken over.

    Raises:
        ValueError: nothing fits, its actions mean something else, or it knows large steps and the
            world model cannot be told of them.
    """
    if start.suffix in (".pt", ".safetensors"):
        network = released.inflate(
            released.load(start), grid=world_model.config.network.grid, keep_labels=False
        )
        given = {f"network.{k}": v for k, v in network.state_dict().items()}
    else:
        found = load_world_model(start)
        given = {k: v for k, v in found.state_dict().items() if not k.startswith("tokenizer.")}
        if found.config.vocabulary != world_model.config.vocabulary:
            given.pop("network.instruction.word.weight", None)
        if found.config.text_encoder != world_model.config.text_encoder:
            given.pop("network.conditioning.text.weight", None)
        if found.config.network.step_sizes and not world_model.config.network.step_sizes:
            raise ValueError(
                f"{start} learned to take large steps, which would be lost; add objective=shortcut"
            )
        found.action_spec.require_match(world_model.action_spec, str(start), "the data")
    own = world_model.state_dict()
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not any(k.startswith("network.blocks.") for k in fits):
        raise ValueError(
            f"no block of {start} fits this network of width {world_model.config.network.width}; "
            "choose the preset it was trained with"
        )
    world_model.load_state_dict(fits, strict=False)
    return sum(v.numel() for v in fits.values())


def load_tokenizer(start: Path | None, tokenizer: Path | None) -> Tokenizer:
    """The tokenizer of a folder, or else that of the world model training starts from."""
    if tokenizer is not None:
        return stored.load(tokenizer).requires_grad_(False)
    if start is not None and start.is_dir():
        return load_world_model(start).tokenizer.requires_grad_(False)
    raise ValueError(
        'there is no tokenizer: give tokenizer=FOLDER ("selfflow tokenizer" makes one), or '
        "start=FOLDER of a world model that has one"
    )
