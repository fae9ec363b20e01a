from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tiny_world import VOCABULARY, clips, randn, world_model

from selfflow_robotics.data.clips import NEVER
from selfflow_robotics.model.heads import ProgressHead, StepsHead
from selfflow_robotics.training.head_losses import progress_error, steps_error, told

CLEAN = torch.tensor([[True, True, False], [True, False, False]])


def test_progress_error_equals_a_hand_computed_one() -> None:
    torch.manual_seed(0)
    head = ProgressHead(32)
    features, instruction = randn(2, 3, 8, 32, seed=1), randn(2, 3, 32, seed=2)
    steps = torch.tensor([[2.0, 0.0, 5.0], [NEVER, NEVER, NEVER]])
    error = progress_error(head, features, CLEAN, steps, instruction)
    logits = head(features, instruction).detach().tolist()

    def entropy(logit: float, target: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -target * math.log(p) - (1 - target) * math.log(1 - p)

    # Clean frames: two of a success, 2 and 0 steps before it; one of a failure, which counts 0.2.
    expected = entropy(logits[0][0], 0.95**2) + entropy(logits[0][1], 1.0)
    expected += 0.2 * entropy(logits[1][0], 0.0)
    assert error.item() == pytest.approx(expected, rel=1e-5)


def test_steps_error_equals_a_hand_computed_one() -> None:
    torch.manual_seed(0)
    head = StepsHead(32)
    features, goals = randn(2, 3, 8, 32, seed=1), randn(2, 8, 32, seed=2)
    apart = torch.tensor([[3, 2, 1], [-1, -2, -3]])  # the second goal lies before its frames
    error = steps_error(head, features, CLEAN, goals, apart)
    now = head(features, goals[:, None]).detach().tolist()[0]
    expected = (now[0] - math.log(4)) ** 2 + (now[1] - math.log(3)) ** 2
    assert error.item() == pytest.approx(expected, rel=1e-5)


def test_without_clean_frames_errors_are_0() -> None:
    none = torch.zeros(2, 3) > 0
    features, goals = randn(2, 3, 8, 32, seed=1), randn(2, 8, 32, seed=2)
    steps = torch.full((2, 3), 4.0)
    assert progress_error(ProgressHead(32), features, none, steps, randn(2, 3, 32, seed=3)) == 0
    assert steps_error(StepsHead(32), features, none, goals, steps.long()) == 0


def test_every_frame_is_told_its_own_instruction() -> None:
    network = world_model().network
    assert network.instruction is not None
    words = torch.from_numpy(VOCABULARY.encode(["pick can", "open top drawer", ""]))
    given = replace(clips(2, 3), words_BTL=words.expand(2, -1, -1))
    told_BTD = told(network, given)
    assert told_BTD.shape == (2, 3, 32)
    torch.testing.assert_close(told_BTD[0, 0], network.encode_instruction(words[:1])[0])
    assert not told_BTD[:, 2].any()
