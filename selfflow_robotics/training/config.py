"""What can be chosen about training. Imports nothing heavy, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..flow import OBJECTIVES
from ..registry import named, require_name

if TYPE_CHECKING:
    from ..flow.objectives import FlowMatching


@dataclass(frozen=True)
class ModelConfig:
    """Which network."""

    preset: str = field(default="small", metadata={"help": "tiny, small, S, B, L or XL (675M)"})
    patch: int = field(
        default=2, metadata={"from": 1, "to": 64, "help": "latent cells along each side of a token"}
    )
    history_len: int = field(
        default=2, metadata={"from": 1, "help": "frames of history when acting"}
    )


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the network learns from."""

    name: str = field(
        default="self_flow",
        metadata={
            "help": f"{', '.join(OBJECTIVES)}, or module:Class; self_flow, sra and repa also "
            "learn features"
        },
    )
    mask_ratio: float = field(
        default=0.1,
        metadata={"to": 1, "help": "self_flow: tokens at the second timestep (video: 0.1)"},
    )
    representation: float | None = field(
        default=None,
        metadata={
            "help": "weight of the features' loss; default: self_flow 0.8, sra 0.2, repa 0.5"
        },
    )
    shortcut: float = field(
        default=0.0,
        metadata={
            "to": 1,
            "help": "share of clips that learn large steps, for sampling in 1 to 8; 0: none",
        },
    )
    encoder: str | None = field(
        default=None, metadata={"help": "repa: a DINOv2 model's folder, or its name on the Hub"}
    )
    distribution: Literal["uniform", "logit-normal", "published"] = field(
        default="uniform",
        metadata={"help": "of timesteps in training, before the shift; published: the paper's"},
    )
    shift: float = field(
        default=5.0, metadata={"above": 0, "help": "of timesteps towards noise; 1 is none"}
    )
    world_model: float = field(
        default=0.5, metadata={"to": 1, "help": "share of clips with clean actions"}
    )
    policy: float = field(
        default=0.4, metadata={"to": 1, "help": "share with actions to be predicted"}
    )
    inverse: float = field(
        default=0.1, metadata={"to": 1, "help": "share with clean frames, noised actions"}
    )
    action_weight: float = field(default=1.0, metadata={"help": "of the actions' velocity loss"})
    state_weight: float = field(default=0.2, metadata={"help": "of proprioception's velocity loss"})

    def __post_init__(self) -> None:
        require_name(self.name, OBJECTIVES, "objective.name")

    def kind(self) -> type[FlowMatching]:
        """The objective's class.

        Raises:
            ConfigError: one of the user's own that cannot be had.
        """
        from ..flow.objectives import FlowMatching

        found: type[FlowMatching] = named(self.name, OBJECTIVES, "objective.name", FlowMatching)
        return found


@dataclass(frozen=True)
class TrainerConfig:
    """How long, how large, how fast."""

    steps: int = field(default=2000, metadata={"help": "optimizer steps"})
    batch_size: int = field(
        default=64, metadata={"from": 1, "help": "clips a step, over all ranks"}
    )
    accumulate: int = field(
        default=1,
        metadata={
            "from": 1,
            "help": "parts that a rank takes its clips of a step in, to save memory",
        },
    )
    frames: int = field(default=6, metadata={"from": 2, "help": "frames a clip"})
    learning_rate: float = field(
        default=1e-3, metadata={"above": 0, "help": "greatest learning rate"}
    )
    warmup: int = field(default=100, metadata={"help": "steps to reach it"})
    weight_decay: float = field(default=0.01, metadata={"help": "of AdamW"})
    clip_norm: float = field(
        default=1.0, metadata={"above": 0, "help": "greatest norm of the gradient"}
    )
    ema: float = field(default=0.999, metadata={"to": 1, "help": "decay of the teacher's average"})
    precision: Literal["auto", "bf16", "fp32"] = field(
        default="auto", metadata={"help": "to compute in; auto: bf16 on a GPU; weights stay fp32"}
    )
    seed: int = field(default=0, metadata={"help": "of weights, the order of clips and noise"})
    save_every: int = field(default=500, metadata={"from": 1, "help": "steps between checkpoints"})
    keep: int = field(default=2, metadata={"from": 1, "help": "last checkpoints that stay"})
    keep_every: int = field(
        default=0, metadata={"help": "checkpoints of every so many steps stay too; 0: none"}
    )
    max_skipped: int = field(
        default=20, metadata={"help": "steps skipped for numbers that are not finite, at most"}
    )
    recompute_every: int = field(
        default=0,
        metadata={"help": "recompute every n-th block's activations; 1: all, 0: none"},
    )
    compile: bool = field(default=False, metadata={"help": "compile the network's block"})
    log_every: int = field(
        default=20, metadata={"from": 1, "help": "steps between points of the curves"}
    )


@dataclass(frozen=True)
class PriorTraining:
    """How the policy prior is fitted, after the network."""

    steps: int = field(default=20_000, metadata={"help": "optimizer steps; 0 leaves it out"})
    batch_size: int = field(default=64, metadata={"from": 1, "help": "frames a step"})
    learning_rate: float = field(
        default=1e-3, metadata={"above": 0, "help": "greatest learning rate"}
    )
    weight_decay: float = field(default=0.05, metadata={"help": "of AdamW"})
    noise: float = field(default=0.15, metadata={"help": "deviation of the noise on latents"})
    state_noise: float = field(default=0.03, metadata={"help": "the same on proprioception"})
    seed: int = field(default=0, metadata={"help": "of batches and noise"})
