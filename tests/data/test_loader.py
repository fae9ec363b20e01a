from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_world import latent_episodes

from selfflow_robotics.data.clips import LatentEpisodes
from selfflow_robotics.data.latents.joined_rows import JoinedRows
from selfflow_robotics.data.loader import ClipLoader


@pytest.fixture(scope="module")
def numbered() -> LatentEpisodes:
    """24 frames in three episodes; each frame's latents are its number."""
    episodes = latent_episodes((8, 7, 9))
    unique = np.arange(len(episodes.latents), dtype=np.float16).reshape(-1, 1, 1, 1)
    latents = np.broadcast_to(unique, episodes.latents.shape).copy()
    return replace(episodes, latents=JoinedRows([latents]))


def first_frames(loader: ClipLoader, steps: int) -> NDArray[np.int64]:
    """(steps, batch), the first frame of every clip."""
    return np.stack(
        [loader.batch(step).clips.latents_BTCHW[:, 0, 0, 0, 0].long() for step in range(steps)]
    )


def test_each_epoch_holds_every_clip_once_in_another_order(numbered: LatentEpisodes) -> None:
    starts = numbered.starts(4)
    assert len(starts) == 15
    found = first_frames(ClipLoader(numbered, 4, 3), 10).reshape(2, 15)
    assert sorted(found[0]) == sorted(found[1]) == sorted(starts)
    assert found[0].tolist() != found[1].tolist() != sorted(starts)
    assert first_frames(ClipLoader(numbered, 4, 3), 10).reshape(2, 15).tolist() == found.tolist()
    other = first_frames(ClipLoader(numbered, 4, 3, seed=1), 10).reshape(2, 15)
    assert other.tolist() != found.tolist()


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_what_one_alone_would_get(numbered: LatentEpisodes, ranks: int) -> None:
    whole = ClipLoader(numbered, 4, 8)
    parts = [ClipLoader(numbered, 4, 8, rank=rank, ranks=ranks) for rank in range(ranks)]
    for step in range(5):
        one = whole.batch(step)
        shared = [loader.batch(step) for loader in parts]
        assert one.episodes == sum((batch.episodes for batch in shared), ())
        for name, value in vars(one.clips).items():
            if isinstance(value, torch.Tensor):
                together = torch.cat([getattr(batch.clips, name) for batch in shared])
                assert torch.equal(value, together), name


def test_the_step_is_the_position(numbered: LatentEpisodes) -> None:
    loader = ClipLoader(numbered, 4, 4)
    from_start, from_third = loader.batches(0), loader.batches(3)
    for _ in range(3):
        next(from_start)
    for _ in range(3):
        one, other = next(from_start), next(from_third)
        assert torch.equal(one.clips.latents_BTCHW, other.clips.latents_BTCHW)
        assert one.episodes == other.episodes


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_threads_that_read_ahead_change_nothing(numbered: LatentEpisodes, workers: int) -> None:
    loader = ClipLoader(numbered, 4, 4, seed=3)
    for step, batch in zip(range(5, 25), loader.batches(5, workers), strict=False):
        expected = loader.batch(step)
        assert batch.episodes == expected.episodes
        for name, value in vars(expected.clips).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(batch.clips, name), value), name


def test_a_batch_names_its_episodes(numbered: LatentEpisodes) -> None:
    batch = ClipLoader(numbered, 4, 15).batch(0)
    for frame, name in zip(batch.clips.latents_BTCHW[:, 0, 0, 0, 0], batch.episodes, strict=True):
        assert name == numbered.ids[np.searchsorted(numbered.offsets, frame, side="right") - 1]


def test_episodes_that_are_too_short_are_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"no episode has 4 frames; use shorter clips"):
        ClipLoader(latent_episodes((3, 2)), 4, 2)


def test_a_batch_that_does_not_divide_is_a_sentence(numbered: LatentEpisodes) -> None:
    with pytest.raises(ValueError, match=r"5 clips does not divide over 2 ranks"):
        ClipLoader(numbered, 4, 5, ranks=2)
