"""Fits a policy prior to a share of the demonstrations, none with an expert's corrections."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from tqdm import tqdm

from ..data.episode import Dataset, Episode
from ..data.fitted import fitted
from ..data.latents.encoding import encode_episodes
from ..data.rt1.features import SOURCES
from ..data.split import OneSide
from ..model.prior import PolicyPrior
from ..world_model.world_model import WorldModel
from .config import PriorTraining
from .prior import fit_prior, prior_sizes


class Chosen:
    """Some of the episodes."""

    def __init__(self, episodes: OneSide, index: list[int]) -> None:
        self.episodes, self.index = episodes, index
        self.name, self.image_size = f"{episodes.name}, {len(index)} of them", episodes.image_size

    @property
    def identity(self) -> dict[str, object]:
        """See :attr:`Encodable.identity`."""
        return {**self.episodes.identity, "chosen": self.index}

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Episode:
        return self.episodes[self.index[i]]


def share_of_demonstrations(episodes: OneSide, share: float, seed: int) -> Chosen:
    """A random share of what was demonstrated undisturbed, the same of each kind of instruction.

    Kinds are told by an instruction's first word; of each kind at least one is chosen.

    Raises:
        ValueError: nothing was.
    """
    kinds: defaultdict[str, list[int]] = defaultdict(list)
    for i in tqdm(range(len(episodes)), desc="demonstrations", unit="episode"):
        episode = episodes[i]
        undisturbed = episode.source == "expert" or episode.source not in SOURCES
        if episode.success and undisturbed and episode.instructions:
            kinds[episode.instructions[0].split(" ")[0]].append(i)
    if not kinds:
        raise ValueError(
            f"no episode of {episodes.name} shows undisturbed how a task is done, so there is "
            "nothing to fit a prior to; collect some of the expert alone"
        )
    rng = np.random.default_rng(seed)
    chosen = [
        int(i)
        for _, found in sorted(kinds.items())
        for i in rng.permutation(found)[: max(1, round(share * len(found)))]
    ]
    return Chosen(episodes, sorted(chosen))


def weak_prior(
    world_model: WorldModel, source: Dataset, name: str, share: float, config: PriorTraining
) -> PolicyPrior:
    """Fit it, as a model's own prior is fitted.

    Args:
        name: of the world model, in messages.
        share: of the demonstrations on the training side, above 0 to 1.

    Raises:
        ValueError: data of another robot, or without demonstrations, instructions or actions.
    """
    if source.action_spec is None:
        raise ValueError(f"{source.name} has no actions, which a prior's episodes need")
    world_model.step_spec.require_match(source.action_spec, name, source.name)
    if world_model.state_spec is not None and source.state_spec is not None:
        world_model.state_spec.require_match(source.state_spec, name, source.name)
    chosen = share_of_demonstrations(OneSide(source, "train"), share, config.seed)
    episodes = encode_episodes(
        fitted(chosen, world_model.image_fit),
        world_model.tokenizer,
        actions=world_model.step_spec,
        states=world_model.state_spec,
        title="encoding",
    ).with_words(world_model.config.vocabulary)
    torch.manual_seed(config.seed)
    prior = PolicyPrior(prior_sizes(world_model)).to(world_model.device)
    fit_prior(prior, episodes, config)
    print(f"fitted to {len(chosen)} demonstrations")
    return prior
