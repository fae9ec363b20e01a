"""World models, clips and episodes small enough for tests, with nothing in them zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from selfflow_robotics.data.action_spec import RT1_ACTIONS, RT1_STATE
from selfflow_robotics.data.clips import NEVER, Clips, LatentEpisodes
from selfflow_robotics.data.episode import Episode
from selfflow_robotics.data.latents.encoding import encode_episodes
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.model.critic import CriticConfig
from selfflow_robotics.model.dit import MAX_WORDS, DiTConfig
from selfflow_robotics.model.prior import PriorConfig
from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.world_model.values import WorldModelConfig
from selfflow_robotics.world_model.world_model import WorldModel

A, P = RT1_ACTIONS.size, RT1_STATE.size
IMAGE = (8, 12)
FACTOR, PATCH = 2, 2
GRID = (2, 3)
N, C = 6, 48
CHANNELS = 12
VOCABULARY = Vocabulary.of(["open top drawer", "pick apple can near sponge"])


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def streams(batch: int, seed: int = 0) -> list[torch.Generator]:
    """A random stream a row."""
    return [seeded(1000 * seed + row) for row in range(batch)]


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def world_model(
    seed: int = 0,
    *,
    states: bool = True,
    history_len: int = 3,
    step_sizes: bool = False,
    critic: bool = False,
) -> WorldModel:
    """A world model in which every weight matters."""
    network = DiTConfig(
        C,
        GRID,
        32,
        3,
        2,
        action_dim=A,
        state_dim=P * states,
        vocabulary=VOCABULARY.size,
        step_sizes=step_sizes,
    )
    spec = RT1_STATE if states else None
    prior = PriorConfig(
        (CHANNELS, 4, 6), P * states, A, VOCABULARY.size, MAX_WORDS, horizon=2, width=8, hidden=16
    )
    counts = CriticConfig((CHANNELS, 4, 6), P * states, VOCABULARY.size, MAX_WORDS, width=8)
    config = WorldModelConfig(
        network, PATCH, IMAGE, history_len, RT1_ACTIONS, spec, VOCABULARY, prior=prior
    )
    config = replace(config, critic=counts) if critic else config
    model = WorldModel(config, Patches(FACTOR).requires_grad_(False))
    generator = seeded(seed)
    assert model.prior is not None
    parts = [model.network, model.progress_head, model.steps_head, model.prior, model.critic]
    for module in filter(None, parts):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.12, generator=generator)
    return model.eval()


def cells_model(
    seed: int = 0,
    *,
    depth: int = 0,
    markov: bool = True,
    history_len: int = 1,
    acting: bool = False,
) -> WorldModel:
    """One that mixes cells and is given where the arm is, with every weight of it at random."""
    network = DiTConfig(
        C,
        GRID,
        32,
        depth,
        2,
        action_dim=A,
        state_dim=P,
        vocabulary=VOCABULARY.size,
        cells=8,
        patch=PATCH,
        markov=markov,
        kinematics=True,
        acting=acting,
    )
    config = WorldModelConfig(
        network, PATCH, IMAGE, history_len, RT1_ACTIONS, RT1_STATE, VOCABULARY
    )
    model = WorldModel(config, Patches(FACTOR).requires_grad_(False))
    generator = seeded(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.12, generator=generator)
    assert model.network.kinematics is not None
    nn.init.normal_(model.network.kinematics.linear, std=0.05, generator=generator)
    return model.eval()


def history(batch: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, past actions and states."""
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (batch, count, *IMAGE, 3), dtype=np.uint8)
    actions = random.uniform(-0.1, 0.1, (batch, count - 1, A)).astype(np.float32)
    return frames, actions, random.standard_normal((batch, count, P)).astype(np.float32)


def candidate_actions(batch: int, candidates: int, horizon: int, seed: int = 0) -> Tensor:
    """Actions inside their bounds, in the environment's units."""
    return torch.rand(batch, candidates, horizon, A, generator=seeded(seed)) * 0.3 - 0.15


def clips(batch: int = 6, frames: int = 5, seed: int = 0) -> Clips:
    """Clips with everything that a data set may tell."""
    known = torch.ones(batch, frames)
    known[:, 0] = 0
    return Clips(
        randn(batch, frames, CHANNELS, 4, 6, seed=seed),
        action_BTA=randn(batch, frames, A, seed=seed + 1).clamp(-1, 1),
        action_known_BT=known,
        state_BTP=randn(batch, frames, P, seed=seed + 2),
        words_BTL=torch.from_numpy(VOCABULARY.encode(["pick can"])).expand(batch, frames, -1),
        steps_BT=torch.arange(frames, 0, -1.0).expand(batch, -1),
        imitate_BT=torch.ones(batch, frames, dtype=torch.bool),
    )


def without_actions(given: Clips) -> Clips:
    """The same as general video."""
    return Clips(given.latents_BTCHW)


def episode(
    steps: int = 8, seed: int = 0, *, success: bool | None = True, told: Sequence[str] = ()
) -> Episode:
    """A bright square that the first two entries of the actions move about."""
    random = np.random.default_rng(seed)
    actions = random.uniform(-0.2, 0.2, (steps, A)).astype(np.float32)
    images = np.full((steps, *IMAGE, 3), 40, np.uint8)
    place = np.array([4.0, 6.0])
    for image, action in zip(images, actions, strict=True):
        row, column = np.clip(place.round().astype(int), 0, np.array(IMAGE) - 3)
        image[row : row + 3, column : column + 3] = 220
        place = np.clip(place + 15 * action[:2], 0, np.array(IMAGE) - 3)
    return Episode(
        images=images,
        actions=actions,
        states=random.standard_normal((steps, P)).astype(np.float32),
        instructions=tuple(told) or ("pick can",) * steps,
        success=success,
        source="expert",
        id=f"train/{seed}",
    )


def latent_episodes(lengths: Sequence[int] = (8, 7, 9), seed: int = 0) -> LatentEpisodes:
    """Episodes of these lengths, encoded."""
    made = [episode(length, seed + i) for i, length in enumerate(lengths)]
    encoded = encode_episodes(made, Patches(FACTOR), actions=RT1_ACTIONS, states=RT1_STATE)
    return encoded.with_words(VOCABULARY)


def failed(given: Clips, rows: Sequence[int]) -> Clips:
    """The same clips, of which these are of episodes that failed."""
    assert given.steps_BT is not None and given.imitate_BT is not None
    steps, imitate = given.steps_BT.clone(), given.imitate_BT.clone()
    steps[list(rows)], imitate[list(rows)] = NEVER, False
    return replace(given, steps_BT=steps, imitate_BT=imitate)
