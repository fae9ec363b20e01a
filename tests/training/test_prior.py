from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import CHANNELS, VOCABULARY, A, P, latent_episodes, world_model

from selfflow_robotics.data.clips import NEVER, LatentEpisodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.data.vocabulary import Vocabulary
from selfflow_robotics.model.dit import MAX_WORDS
from selfflow_robotics.model.prior import PolicyPrior, PriorConfig
from selfflow_robotics.training.config import PriorTraining
from selfflow_robotics.training.prior import add_prior, demonstrations, fit_prior, prior_error

CONFIG = PriorConfig((CHANNELS, 4, 6), P, A, VOCABULARY.size, MAX_WORDS, horizon=2)
QUICK = PriorTraining(steps=300, batch_size=32, learning_rate=3e-3, noise=0.0, state_noise=0.0)


@pytest.fixture
def episodes() -> LatentEpisodes:
    """What follows a frame is written in its first channel."""
    made = latent_episodes((9, 8, 10, 9))
    assert made.actions is not None
    latents = np.array(made.latents)
    latents[:-1, 0] = made.actions[1:, 0, None, None]
    return replace(made, latents=JoinedRows([latents]))


def test_demonstrations_end_with_the_episode_and_before_what_shows_nothing() -> None:
    made = latent_episodes((5, 4))
    shown = np.ones(9, np.bool_)
    shown[2] = False  # the action that led to frame 2
    frames, ahead = demonstrations(replace(made, demonstrated=shown), 2)
    assert frames.tolist() == [0, 2, 3, 5, 6, 7]
    assert ahead.tolist() == [
        [True, False],  # frame 0: the action to 2 shows nothing
        [True, True],
        [True, False],  # the episode ends
        [True, True],
        [True, True],
        [True, False],
    ]


def test_failures_are_not_demonstrations() -> None:
    made = latent_episodes((5, 4))
    steps = made.steps_to_success.copy()
    steps[:5] = NEVER
    frames, _ = demonstrations(replace(made, steps_to_success=steps), 2)
    assert frames.tolist() == [5, 6, 7]


def test_it_learns_what_the_picture_tells(episodes: LatentEpisodes) -> None:
    torch.manual_seed(0)
    prior = PolicyPrior(CONFIG)
    before = prior_error(prior, episodes)
    after = fit_prior(prior, episodes, QUICK, episodes)
    assert before is not None and after is not None
    assert after < 0.3 * before


def test_the_same_seed_fits_the_same_prior(episodes: LatentEpisodes) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        prior = PolicyPrior(CONFIG)
        fit_prior(prior, episodes, replace(QUICK, steps=5))
        found.append(prior.state_dict())
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


def test_nothing_to_fit_to_is_a_sentence(episodes: LatentEpisodes) -> None:
    nothing = replace(episodes, demonstrated=np.zeros(len(episodes.latents), np.bool_))
    with pytest.raises(ValueError, match=r"no episode shows how .* prior.steps=0"):
        fit_prior(PolicyPrior(CONFIG), nothing, QUICK)
    with pytest.raises(ValueError, match="actions and instructions"):
        fit_prior(PolicyPrior(CONFIG), replace(episodes, actions=None), QUICK)


def test_what_is_told_and_felt_counts() -> None:
    torch.manual_seed(0)
    prior = PolicyPrior(CONFIG)
    latents, state = torch.randn(2, CHANNELS, 4, 6), torch.randn(2, P)
    pick, place = (
        torch.from_numpy(VOCABULARY.encode([text] * 2)) for text in ("pick can", "open drawer")
    )
    guess = prior(latents, state, pick)
    assert guess.shape == (2, 2, A)
    assert not torch.equal(guess, prior(latents, state, place))
    assert not torch.equal(guess, prior(latents, None, pick))


def test_a_prior_is_fitted_once_and_anew_where_anything_else_is_asked_for(
    episodes: LatentEpisodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, few = tmp_path / "prior.pt", replace(QUICK, steps=3)

    def fitted(config: PriorTraining, vocabulary: Vocabulary = VOCABULARY) -> PolicyPrior:
        model = world_model()
        model.config = replace(model.config, vocabulary=vocabulary, prior=None)
        model.prior = None
        add_prior(model, kept, episodes, config)
        assert model.config.prior is not None and model.prior is not None
        return model.prior

    def weights(prior: PolicyPrior) -> torch.Tensor:
        return torch.cat([value.detach().flatten() for value in prior.parameters()])

    first = weights(fitted(few))
    written = kept.stat().st_mtime_ns
    assert torch.equal(weights(fitted(few)), first) and kept.stat().st_mtime_ns == written
    assert "fitted anew" not in capsys.readouterr().err

    more = weights(fitted(replace(few, steps=6)))
    assert not torch.equal(more, first)
    assert "made with other prior.steps; the policy prior is fitted" in capsys.readouterr().err
    other = Vocabulary(tuple(reversed(VOCABULARY.words)))
    fitted(replace(few, steps=6), other)
    assert "made with other instructions;" in capsys.readouterr().err
    assert episodes.actions is not None
    episodes.actions[3] += 0.1
    fitted(replace(few, steps=6), other)
    assert "made with other episodes;" in capsys.readouterr().err


def test_a_damaged_prior_is_a_sentence(episodes: LatentEpisodes, tmp_path: Path) -> None:
    path, quick = tmp_path / "training" / "prior.pt", replace(QUICK, steps=2)
    model = world_model()
    add_prior(model, path, episodes, quick)
    assert [entry.name for entry in path.parent.iterdir()] == ["prior.pt"]
    whole = path.read_bytes()
    assert model.prior is not None
    weight = next(iter(model.prior.state_dict().values())).numpy().tobytes()[:32]
    changed = bytearray(whole)
    changed[whole.index(weight)] ^= 0x40
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-1], bytes(changed)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"prior\.pt cannot be gone on with .*remove it"):
            add_prior(world_model(), path, episodes, quick)


def test_a_prior_of_before_priors_said_what_they_are_of_is_fitted_anew(
    episodes: LatentEpisodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prior.pt"
    torch.save(PolicyPrior(CONFIG).state_dict(), path)
    add_prior(world_model(), path, episodes, replace(QUICK, steps=2))
    assert "is an older version's; the policy prior is fitted anew" in capsys.readouterr().err
