"""A critic's answer depends on all that it is told, and is a distribution over steps."""

from __future__ import annotations

import pytest
import torch
from chain import CONFIG, critic
from tiny_world import CHANNELS, VOCABULARY, P, randn


def test_what_is_told_shown_and_felt_counts() -> None:
    asked, latents, state = critic().eval(), randn(2, CHANNELS, 4, 6, seed=0), randn(2, P, seed=1)
    pick, place = (
        torch.from_numpy(VOCABULARY.encode([text] * 2)) for text in ("pick can", "open drawer")
    )
    goal = randn(2, CHANNELS, 4, 6, seed=2)
    answers = [
        asked(latents, state, pick),
        asked(latents, state, place),
        asked(latents, None, pick),
        asked(latents, state, None, goal, state),
        asked(latents, state, None, goal, None),
        asked(latents, state),
    ]
    assert answers[0].shape == (2, CONFIG.heads, CONFIG.most + 1)
    for i, one in enumerate(answers):
        assert not any(torch.equal(one, other) for other in answers[:i])


def test_its_heads_begin_apart() -> None:
    steps = critic().eval().steps(critic().eval()(randn(4, CHANNELS, 4, 6, seed=0)))
    assert (steps.std(dim=1) > 0).all()


def test_steps_are_the_mean_and_never_counts_as_the_most() -> None:
    logits = torch.full((3, CONFIG.most + 1), -100.0)
    logits[0, 7] = logits[1, -1] = logits[2, 2] = logits[2, 4] = 100.0
    asked = critic()
    torch.testing.assert_close(asked.steps(logits), torch.tensor([7.0, CONFIG.most, 3.0]))
    torch.testing.assert_close(asked.lost(logits), torch.tensor([0.0, 1.0, 0.0]))


def test_bfloat16_says_the_same_nearly() -> None:
    asked, latents = critic().eval(), randn(4, CHANNELS, 4, 6, seed=0)
    full = asked.steps(asked(latents))
    half = asked.bfloat16()(latents.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(asked.steps(half), full, atol=0.1, rtol=0.02)


def test_never_is_a_chance() -> None:
    assert critic().lost(torch.zeros(1, 4)).item() == pytest.approx(0.25)


def test_heads_share_nothing() -> None:
    asked, latents = critic().eval(), randn(3, CHANNELS, 4, 6, seed=0)
    whole = asked(latents)
    with torch.no_grad():
        for value in asked.heads[0].parameters():
            value.zero_()
    assert not torch.equal(asked(latents)[:, 0], whole[:, 0])
    torch.testing.assert_close(asked(latents)[:, 1], whole[:, 1], rtol=0, atol=0)


def test_one_frame_before_stands_for_rows_in_turn() -> None:
    asked = critic().eval()
    latents, before = randn(6, CHANNELS, 4, 6, seed=0), randn(2, CHANNELS, 4, 6, seed=1)
    few = asked(latents, before_BCHW=before)
    torch.testing.assert_close(few, asked(latents, before_BCHW=before.repeat_interleave(3, dim=0)))
