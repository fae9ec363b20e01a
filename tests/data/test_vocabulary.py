from __future__ import annotations

import numpy as np
import pytest

from selfflow_robotics.data.vocabulary import MAX_WORDS, Vocabulary
from selfflow_robotics.model import dit

KNOWN = Vocabulary.of(["Pick coke can", "move can near apple", ""])


def test_words_are_sorted_and_known_once() -> None:
    assert KNOWN.words == ("apple", "can", "coke", "move", "near", "pick")
    assert KNOWN.size == 7


def test_words_become_indices_in_order_and_0_pads() -> None:
    found = KNOWN.encode(["pick CAN", "", "can near apple"])
    assert found.shape == (3, MAX_WORDS)
    assert found[:, :4].tolist() == [[6, 2, 0, 0], [0, 0, 0, 0], [2, 5, 1, 0]]
    assert not found[:, 4:].any()
    assert found.dtype == np.int64


def test_unknown_word_is_a_sentence_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match='the word "aple" of "pick aple"; did you mean "apple"'):
        KNOWN.encode(["pick aple"])
    with pytest.raises(ValueError, match=r"it knows \['apple', 'can'"):
        KNOWN.encode(["xyzzy"])


def test_too_many_words_are_a_sentence() -> None:
    assert KNOWN.encode(["can " * MAX_WORDS]).all()
    with pytest.raises(ValueError, match="more than 16 words; shorten it"):
        KNOWN.encode(["can " * (MAX_WORDS + 1)])


def test_the_network_takes_as_many_words() -> None:
    assert dit.MAX_WORDS == MAX_WORDS
