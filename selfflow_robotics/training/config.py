"""What can be chosen about training. Imports nothing heavy, so that help is quick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..flow import OBJECTIVES
from ..registry import named, require_name
from ..storage.keys import key

if TYPE_CHECKING:
    from ..flow.objectives import FlowMatching


@dataclass(frozen=True)
class ModelConfig:
    """Which network."""

    preset: str = key(
        "tiny, small, S, B, L, XL (675M), or cells, cells0 (around model.cells)", "small"
    )
    patch: int = key("latent cells along each side of a token", 2, least=1, most=64)
    history_len: int = key("frames of history when acting", 2, least=1)
    cells: int = key("channels of convolutions that mix latent cells around tokens; 0: none", 0)
    kinematics: bool = key("imagined frames are given where the arm is; it is not dreamt", False)
    markov: bool = key("frames see the last one alone: quick to imagine, no heads", False)
    acting: bool = key("actions read cells: a joint policy, with markov too", False)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the network learns from."""

    name: str = key(
        f"{', '.join(OBJECTIVES)}, or module:Class; self_flow, sra and repa also learn features",
        "self_flow",
    )
    mask_ratio: float = key("self_flow: tokens at the second timestep (video: 0.1)", 0.1, most=1)
    representation: float | None = key(
        "weight of the features' loss; default: self_flow 0.8, sra 0.2, repa 0.5", None
    )
    shortcut: float = key(
        "share of clips that learn large steps, for sampling in 1 to 8; 0: none", 0.0, most=1
    )
    encoder: str | None = key("repa: a DINOv2 model's folder, or its name on the Hub", None)
    distribution: Literal["uniform", "logit-normal", "published"] = key(
        "of timesteps in training, before the shift; published: the paper's", "uniform"
    )
    shift: float = key("of timesteps towards noise; 1 is none", 5.0, above=0)
    world_model: float = key("share of clips with clean actions", 0.5, most=1)
    policy: float = key("share with actions to be predicted", 0.4, most=1)
    inverse: float = key("share with clean frames, noised actions", 0.1, most=1)
    action_weight: float = key("of the actions' velocity loss", 1.0)
    state_weight: float = key("of proprioception's velocity loss", 0.2)
    ahead: int = key("unrolled: frames imagined one after another", 3, least=1)

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

    steps: int = key("optimizer steps", 2000)
    batch_size: int = key("clips a step, over all ranks", 64, least=1)
    accumulate: int = key(
        "parts that a rank takes its clips of a step in, to save memory", 1, least=1
    )
    frames: int = key("frames a clip", 6, least=2)
    learning_rate: float = key("greatest learning rate", 1e-3, above=0)
    warmup: int = key("steps to reach it", 100)
    weight_decay: float = key("of AdamW", 0.01)
    clip_norm: float = key("greatest norm of the gradient", 1.0, above=0)
    ema: float = key("decay of the teacher's average", 0.999, most=1)
    precision: Literal["auto", "bf16", "fp32"] = key(
        "to compute in; auto: bf16 on a GPU; weights stay fp32", "auto"
    )
    seed: int = key("of weights, the order of clips and noise", 0)
    save_every: int = key("steps between checkpoints", 500, least=1)
    keep: int = key("last checkpoints that stay", 2, least=1)
    keep_every: int = key("checkpoints of every so many steps stay too; 0: none", 0)
    max_skipped: int = key("steps skipped for numbers that are not finite, at most", 20)
    recompute_every: int = key("recompute every n-th block's activations; 1: all, 0: none", 0)
    compile: bool = key("compile the network's block", False)
    log_every: int = key("steps between points of the curves", 20, least=1)


@dataclass(frozen=True)
class PriorTraining:
    """How the policy prior is fitted, after the network."""

    steps: int = key("optimizer steps; 0 leaves it out", 20_000)
    batch_size: int = key("frames a step", 64, least=1)
    learning_rate: float = key("greatest learning rate", 1e-3, above=0)
    weight_decay: float = key("of AdamW", 0.05)
    noise: float = key("deviation of the noise on latents", 0.15)
    state_noise: float = key("the same on proprioception", 0.03)
    seed: int = key("of batches and noise", 0)


@dataclass(frozen=True)
class CriticTraining:
    """How the critic is fitted, after the policy prior."""

    steps: int = key(
        "optimizer steps; 0 leaves it out; with trainer.steps=0 it alone is fitted, to start as it "
        "is",
        0,
    )
    batch_size: int = key("frames a step", 192, least=1)
    learning_rate: float = key("greatest learning rate", 1e-3, above=0)
    weight_decay: float = key("of AdamW", 0.05)
    noise: float = key("deviation of the noise on latents", 0.15)
    state_noise: float = key("the same on proprioception", 0.03)
    goals: float = key("share of frames asked for the steps to another frame", 0.25, most=1)
    imagined: float = key(
        "share of frames read as the model imagines them up to 8 steps ahead", 0.0, most=1
    )
    ahead: int = key("steps counted in an episode before the critic is asked", 4, least=1)
    expectile: float = key(
        "weight of targets above what is expected; below 0.5 it learns how few steps do",
        0.05,
        above=0,
        most=1,
    )
    seed: int = key("of weights, batches and noise", 0)
