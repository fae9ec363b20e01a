"""`selfflow finetune`: trains an action-conditioned world model on a robot's episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..training.config import ModelConfig, ObjectiveConfig, PriorTraining, TrainerConfig
from .dataset import DataConfig

if TYPE_CHECKING:
    from ..data.clips import LatentEpisodes
    from ..data.formats import Dataset
    from ..images.fit import ImageFit
    from ..tokenizers.tokenizer import Tokenizer
    from ..training.ranks import Ranks
    from ..training.trainer import Evaluate
    from ..world_model.world_model import WorldModel

HELP = """Train an action-conditioned world model on a robot's episodes.

Reads an RLDS or LeRobot data set (data) and the model to start from (start), or a tokenizer;
writes the world model (config.json, model.safetensors) and, in training/, its settings, checkpoints
and curves under out. Run again with the same out, it resumes; SIGTERM and Ctrl-C save and leave.
Images are made image_size, or else what divides into tokens. On several GPUs:
torchrun --nproc-per-node 8 -m selfflow_robotics.cli.main finetune device=cuda ...
"""


@dataclass(frozen=True)
class TrainingData(DataConfig):
    """Which episodes. Of several data sets, the first's statistics normalise."""

    repeat: dict[str, int] = field(
        default_factory=dict,
        metadata={
            "from": 1,
            "help": "clips of one instruction more often, by its first word: repeat.pick=4",
        },
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
    image_size: tuple[int, int] | None = field(
        default=None,
        metadata={"from": 1, "help": "height, width to train at; null: the data's, made to fit"},
    )
    image_fit: Literal["crop", "pad"] = field(
        default="crop", metadata={"help": "what becomes of images of other proportions"}
    )
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
    import torch

    from ..data.latents.cache import weights_digest
    from ..data.vocabulary import Vocabulary
    from ..storage.model_folder import require_model_folder
    from ..training.memory_check import require_memory
    from ..training.prior import add_prior
    from ..training.recipe import (
        build_objective,
        build_world_model,
        common_fit,
        load_tokenizer,
        start_from,
    )
    from ..training.run_config import RunSettings
    from ..training.shared_latents import forget_shared_latents
    from ..training.trainer import Trainer

    require_model_folder(config.out)
    sources = _sources(config)
    source, folder = sources[0], config.out / "training"
    tokenizer = load_tokenizer(config.start, config.tokenizer).to(ranks.device)
    unit = tokenizer.factor * config.model.patch
    fit = common_fit(sources, config.image_size, config.image_fit, unit)
    with ranks.first_alone():
        objective = build_objective(config.objective, config.model.patch, 1, tokenizer)
        found = {
            "data.identity": [dict(one.identity) for one in sources],
            "tokenizer.weights": weights_digest(tokenizer),
            "model.image_size": list(fit.size),
        }
    settings = RunSettings.of(folder, config, found)
    settings.require_same()
    sizes = config.model, config.objective, config.trainer
    require_memory(*sizes, tokenizer, fit.size, ranks, words=100)
    with ranks.first_alone():
        train, held_out = _encoded(config, sources, tokenizer, fit, ranks)
    vocabulary = Vocabulary.of(
        str(text) for side in (train, held_out) if side is not None for text in side.texts
    )
    train = train.with_words(vocabulary)
    held_out = held_out and held_out.with_words(vocabulary)
    torch.manual_seed(config.trainer.seed)
    assert source.action_spec is not None
    world_model = build_world_model(
        config.model,
        tokenizer,
        fit.size,
        source.action_spec.block(tokenizer.temporal),
        source.state_spec,
        vocabulary,
        config.objective.shift,
        step_sizes=config.objective.shortcut > 0,
        image_fit=fit.how,
        camera_size=source.image_size,
    ).to(ranks.device)
    with_prior = _has_prior(config, world_model, train)
    if config.start is not None:
        print(f"took over {start_from(world_model, config.start):,} weights of {config.start}")
    evaluate = _judge(config, held_out)
    repeat = config.data.repeat
    trainer = Trainer(
        world_model, objective, train, config.trainer, folder, evaluate, repeat, ranks
    )
    if ranks.first:
        settings.write()
    trained = trainer.fit()
    if trained is None or not ranks.first:
        return 0
    # Before the prior is fitted: whatever happens to that, what was trained is there.
    trained.save_pretrained(str(config.out))
    if with_prior:
        print(f"wrote the network to {config.out}; its policy prior comes next", flush=True)
        error = add_prior(trained, folder / "prior.pt", train, config.prior, held_out)
        if error is not None:
            print(f"policy prior: mean error {error:.4f} of held-out demonstrations, normalised")
        trained.save_pretrained(str(config.out))
    forget_shared_latents(config.out)
    print(f"wrote {config.out}")
    return 0


def _sources(config: Config) -> list[Dataset]:
    """The data sets, whose actions and proprioception mean the same."""
    from ..data.formats import open_dataset

    if not config.data.path:
        raise ValueError('there are no episodes: add data=FOLDER ("selfflow collect" makes one)')
    sources = [
        open_dataset(path, config.data.mapping, config.data.split) for path in config.data.path
    ]
    first = sources[0]
    for other in sources:
        if first.action_spec is None or other.action_spec is None:
            raise ValueError(f"{other.name} has no actions, which a world model needs")
        first.action_spec.require_match(other.action_spec, first.name, other.name)
        if first.state_spec is not None and other.state_spec is not None:
            first.state_spec.require_match(other.state_spec, first.name, other.name)
        beyond = first.action_spec.left_by(other.action_spec)
        if beyond:
            print(
                f"actions: {', '.join(beyond)} of {other.name} beyond q01 to q99 of {first.name} "
                "become these, which count for all; name the widest data set first"
            )
    return sources


def _encoded(
    config: Config, sources: list[Dataset], tokenizer: Tokenizer, fit: ImageFit, ranks: Ranks
) -> tuple[LatentEpisodes, LatentEpisodes | None]:
    """Latents to train on, and held-out ones where there are any."""
    from ..data.clips import LatentEpisodes
    from ..data.fitted import fitted
    from ..data.latents.cache import latents_of
    from ..training.recipe import OneSide
    from ..training.shared_latents import shared_cache

    cache = shared_cache(config.cache, config.out, ranks)
    specs = sources[0].action_spec, sources[0].state_spec
    train, *held_out = (
        LatentEpisodes.join(
            [latents_of(fitted(side, fit), tokenizer, cache, *specs) for side in sides]
        )
        for which in ("train", "held-out")
        if (sides := [side for one in sources if len(side := OneSide(one, which))])
    )
    return train, held_out[0] if held_out else None


def _has_prior(config: Config, world_model: WorldModel, train: LatentEpisodes) -> bool:
    """Whether a policy prior is to be fitted; said where nothing shows it what to do."""
    from ..training.prior import demonstrations, prior_sizes

    if not config.prior.steps or train.words is None:
        return False
    frames, _ = demonstrations(train, prior_sizes(world_model).horizon)
    if not len(frames):
        print(
            "no episode succeeds, so there is nothing to imitate: the model is trained without a "
            "policy prior, and planners start from what it proposes itself"
        )
    return len(frames) > 0


def _judge(config: Config, held_out: LatentEpisodes | None) -> Evaluate | None:
    """What is measured on held-out episodes while training goes on."""
    from ..training.diagnostics import diagnose

    if held_out is None or len(held_out.starts(config.model.history_len + 1)) < 2:
        print("the few held-out episodes are not enough to judge the model by; collect more")
        return None

    def evaluate(model: WorldModel, step: int) -> dict[str, float]:
        found = diagnose(model, held_out)
        if found.warning:
            print(f"warning at step {step}: {found.warning}")
        values = {
            "next_frame": found.true_actions,
            "shuffled_ratio": found.shuffled_ratio,
            "copy_ratio": found.copy_ratio,
        }
        return values | ({} if found.unexplained is None else {"unexplained": found.unexplained})

    return evaluate
