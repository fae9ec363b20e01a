"""From what was chosen about training to a world model and its objective."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..data.action_spec import ActionSpec, StateSpec
from ..data.vocabulary import Vocabulary
from ..flow.noising import Noising
from ..flow.objectives import FlowMatching, Repa
from ..flow.shortcut import Shortcut
from ..flow.timesteps import TimestepDistribution
from ..image_model import checkpoint as released
from ..images.fit import How
from ..model.dit import DiTConfig
from ..model.modality import PUBLISHED, Modality
from ..model.presets import preset
from ..registry import made
from ..tokenizers import stored
from ..tokenizers.tokenizer import Tokenizer
from ..world_model.values import WorldModelConfig
from ..world_model.world_model import WorldModel
from .config import ModelConfig, ObjectiveConfig
from .frame_features import FrameFeatures


def build_objective(
    config: ObjectiveConfig,
    patch: int,
    min_prefix: int,
    tokenizer: Tokenizer,
    more: tuple[Modality, ...] = (),
    given_state: bool = False,
    alone: bool = False,
) -> FlowMatching:
    """The objective; `min_prefix` is 0 where a clip may have no clean frame.

    Modalities that the network declares itself stand in `more`; `given_state` where it has
    kinematics, `alone` where its frames see the last one alone.

    Raises:
        ValueError: REPA's encoder is not given or cannot be used.
    """
    if config.distribution == "published":
        times = TimestepDistribution(**vars(PUBLISHED["video"].times))
    else:
        times = TimestepDistribution(config.distribution, config.shift)
    kind = config.kind()
    noising = Noising(
        times,
        config.mask_ratio if kind.masks else 0.0,
        (config.world_model, config.policy, config.inverse),
        min_prefix,
        per_frame=kind.per_frame,
        gap=kind.gap,
        shortcut=config.shortcut,
        more=more,
        ahead=config.ahead if kind.unrolls else 0,
        given_state=given_state,
        alone=alone and not kind.unrolls,
    )
    weights = {"action": config.action_weight, "proprioception": config.state_weight}
    if config.representation is not None:
        weights["representation"] = config.representation
    if not issubclass(kind, Repa):
        objective: FlowMatching = made(kind, "objective.name", noising, patch, weights)
    elif config.encoder is None:
        raise ValueError(
            "repa needs a DINOv2 encoder: add objective.encoder=FOLDER, or a name on the Hub"
        )
    else:
        features = FrameFeatures(config.encoder, tokenizer, patch)
        objective = kind(noising, patch, features, weights)
    return Shortcut(objective) if config.shortcut else objective


def build_world_model(
    model: ModelConfig,
    tokenizer: Tokenizer,
    image_size: tuple[int, int],
    actions: ActionSpec | None,
    states: StateSpec | None,
    vocabulary: Vocabulary,
    time_shift: float = 1.0,
    step_sizes: bool = False,
    text_encoder: str | None = None,
    text_dim: int = 0,
    image_fit: How = "crop",
    camera_size: tuple[int, int] | None = None,
    more: tuple[Modality, ...] = (),
) -> WorldModel:
    """A world model with random weights that begins by keeping the last frame.

    Without `actions` it is one of video. A policy prior is added to it when it is trained.

    Frames are made of video, actions, proprioception, and the modalities in `more`. With
    `text_dim` its network is told vectors of that many values, which `text_encoder` makes.
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
        action_dim=actions.size if actions else 0,
        state_dim=states.size if states else 0,
        vocabulary=vocabulary.size if vocabulary.words else 0,
        step_sizes=step_sizes,
        text_dim=text_dim,
        max_words=vocabulary.length,
        more=more,
        cells=model.cells,
        patch=model.patch if model.cells else 1,
        markov=model.markov,
        kinematics=model.kinematics and actions is not None and states is not None,
        acting=model.acting and actions is not None,
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
        text_encoder=text_encoder,
        image_fit=image_fit,
        camera_size=camera_size,
    )
    world_model = WorldModel(config, tokenizer.requires_grad_(False))
    world_model.network.start_from_anchor()
    return world_model


def start_from(world_model: WorldModel, start: Path) -> int:
    """Take over the weights of a world model's folder, or of the published image checkpoint.

    Parts that the start lacks, or has in another size, stay as they are; so do words where it knows
    others, proprioception where it means something else, and what captions say where another text
    encoder read them. Tokenizer, policy prior and critic are not taken.

    Actions must mean the same where the start learned any: one that was pretrained on video has
    none to disagree about.

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
        found = WorldModel.from_pretrained(str(start))
        given = {
            k: v
            for k, v in found.state_dict().items()
            if not k.startswith(("tokenizer.", "prior.", "critic."))
        }
        if found.config.vocabulary != world_model.config.vocabulary:
            given.pop("network.instruction.word.weight", None)
        if found.config.text_encoder != world_model.config.text_encoder:
            given.pop("network.conditioning.text.weight", None)
        if found.config.network.step_sizes and not world_model.config.network.step_sizes:
            raise ValueError(
                f"{start} learned to take large steps, which would be lost; add objective=shortcut"
            )
        ours, theirs = world_model.config, found.config
        if ours.action_spec and theirs.action_spec and _learned_actions(found):
            theirs.action_spec.require_match(ours.action_spec, str(start), "the data")
        states = [spec.state_spec.names for spec in (ours, theirs) if spec.state_spec]
        if len(set(states)) > 1:
            for part in ("tokens_in", "tokens_out"):
                for kind in ("weight", "bias"):
                    given.pop(f"network.{part}.state.{kind}", None)
    own = world_model.state_dict()
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not any(k.startswith(("network.blocks.", "network.cells.")) for k in fits):
        raise ValueError(
            f"no block of {start} fits this network of width {world_model.config.network.width}; "
            "choose the preset it was trained with"
        )
    world_model.load_state_dict(fits, strict=False)
    return sum(v.numel() for v in fits.values())


def _learned_actions(world_model: WorldModel) -> bool:
    """Whether it ever saw an action; until then they have no effect, by weights that are zero.

    Models pretrained on video used to name RT-1's actions all the same.
    """
    action = world_model.network.conditioning.action
    last = action[-1] if action is not None else None
    return isinstance(last, nn.Linear) and bool(last.weight.any())


def load_tokenizer(start: Path | None, tokenizer: Path | None) -> Tokenizer:
    """The tokenizer of a folder, or else that of the world model training starts from."""
    if tokenizer is not None:
        return stored.load(tokenizer).requires_grad_(False)
    if start is not None and start.is_dir():
        return WorldModel.from_pretrained(str(start)).tokenizer.requires_grad_(False)
    raise ValueError(
        'there is no tokenizer: give tokenizer=FOLDER ("selfflow tokenizer" makes one), or '
        "start=FOLDER of a world model that has one"
    )
