"""`selfflow finetune`: trains an action-conditioned world model on a robot's episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..training.config import ModelConfig, ObjectiveConfig, PriorTraining, TrainerConfig
from .dataset import DataConfig

if TYPE_CHECKING:
    from ..training.ranks import Ranks

HELP = """Train an action-conditioned world model on a robot's episodes.

Reads an RLDS or LeRobot data set (data) and the model to start from (start), or a tokenizer;
writes the world model (config.json, model.safetensors) and, in training/, checkpoints and curves
under out. Run again with the same out, it resumes; SIGTERM saves and leaves. On several GPUs:
torchrun --nproc-per-node 8 -m selfflow_robotics.cli.main finetune device=cuda ...
"""


@dataclass(frozen=True)
class TrainingData(DataConfig):
    """Which episodes. Of several data sets, the first's statistics normalise."""

    repeat: dict[str, int] = field(
        default_factory=dict,
        metadata={"help": "clips of one instruction more often, by its first word: repeat.pick=4"},
    )


@dataclass(frozen=True)
class Config:
    """Keys of `selfflow finetune`."""

    out: Path = field(metadata={"help": "folder to write", "was": ("output",)})
    data: TrainingData = field(default_factory=TrainingData)
    start: Path | None = field(
        default=None, metadata={"help": "a pretrained model's folder, or the image checkpoint"}
    )
    tokenizer: Path | None = field(default=None, metadata={"help": "default: that of start"})
    cache: Path | None = field(default=None, metadata={"help": "folder that keeps latents"})
    device: str = field(default="cpu", metadata={"help": "to train on: cpu, cuda, cuda:1, ..."})
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    prior: PriorTraining = field(default_factory=PriorTraining)

    @property
    def output(self) -> Path:
        """The older name of `out`."""
        return self.out


def run(config: Config) -> int:
    """Train on episodes and write the world model."""
    from ..training.ranks import join_ranks

    with join_ranks(config.device) as ranks:
        return _run(config, ranks)


def _run(config: Config, ranks: Ranks) -> int:
    import numpy as np
    import torch

    from ..data.clips import LatentEpisodes
    from ..data.datasets import open_dataset
    from ..data.latents.cache import latents_of
    from ..data.vocabulary import Vocabulary
    from ..stored_model import require_model_folder
    from ..training.diagnostics import diagnose
    from ..training.prior import fit_prior_once
    from ..training.recipe import (
        OneSide,
        build_objective,
        build_world_model,
        load_tokenizer,
        start_from,
    )
    from ..training.shared_latents import forget_shared_latents, shared_cache
    from ..training.trainer import Trainer
    from ..world_model import WorldModel

    if not config.data.path:
        raise ValueError('there are no episodes: add data=FOLDER ("selfflow collect" makes one)')
    require_model_folder(config.out)
    sources = [
        open_dataset(path, config.data.mapping, config.data.split) for path in config.data.path
    ]
    source = sources[0]
    if source.action_spec is None or source.image_size is None:
        raise ValueError(
            f"{source.name} has no actions or no fixed image size; a world model needs both"
        )
    for other in sources[1:]:
        if other.action_spec is None or other.image_size != source.image_size:
            raise ValueError(
                f"{other.name} has no actions, or images of {other.image_size} and not "
                f"{source.image_size} as {source.name}; train on data sets of one kind"
            )
        source.action_spec.require_match(other.action_spec, source.name, other.name)
        if source.state_spec is not None and other.state_spec is not None:
            source.state_spec.require_match(other.state_spec, source.name, other.name)
    tokenizer = load_tokenizer(config.start, config.tokenizer).to(ranks.device)
    cache = shared_cache(config.cache, config.out, ranks)
    with ranks.first_alone():
        objective = build_objective(config.objective, config.model.patch, 1, tokenizer)
        train, *held_out = (
            LatentEpisodes.join(
                [
                    latents_of(side, tokenizer, cache, source.action_spec, source.state_spec)
                    for side in sides
                ]
            )
            for which in ("train", "held-out")
            if (sides := [side for one in sources if len(side := OneSide(one, which))])
        )
    vocabulary = Vocabulary.of(np.concatenate([train.texts, *(side.texts for side in held_out)]))
    judged = [side for side in held_out if len(side.starts(config.model.history_len + 1)) > 1]
    if not judged:
        print("the few held-out episodes are not enough to judge the model by; collect more")
    torch.manual_seed(config.trainer.seed)
    world_model = build_world_model(
        config.model,
        tokenizer,
        source.image_size,
        source.action_spec.block(tokenizer.temporal),
        source.state_spec,
        vocabulary,
        config.objective.shift,
        with_prior=config.prior.steps > 0 and bool(vocabulary.words),
        step_sizes=config.objective.shortcut > 0,
    ).to(ranks.device)
    if config.start is not None:
        print(f"took over {start_from(world_model, config.start):,} weights of {config.start}")

    def evaluate(model: WorldModel, step: int) -> dict[str, float]:
        found = diagnose(model, judged[0])
        if found.warning:
            print(f"warning at step {step}: {found.warning}")
        values = {
            "next_frame": found.true_actions,
            "shuffled_ratio": found.shuffled_ratio,
            "copy_ratio": found.copy_ratio,
        }
        return values | ({} if found.unexplained is None else {"unexplained": found.unexplained})

    trainer = Trainer(
        world_model,
        objective,
        train.with_words(vocabulary),
        config.trainer,
        config.out / "training",
        evaluate if judged else None,
        config.data.repeat,
        ranks,
    )
    trained = trainer.fit()
    if trained is None or not ranks.first:
        return 0
    if trained.prior is not None:
        told = [side.with_words(vocabulary) for side in (train, *held_out)]
        fitted = config.out / "training" / "prior.pt"
        error = fit_prior_once(trained.prior, fitted, told[0], config.prior, *told[1:])
        if error is not None:
            print(f"policy prior: mean error {error:.4f} of held-out demonstrations, normalised")
    trained.save_pretrained(str(config.out))
    forget_shared_latents(config.out)
    print(f"wrote {config.out}")
    return 0
