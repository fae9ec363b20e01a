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


def test_punctuation_and_case_make_no_other_words() -> None:
    known = Vocabulary.of(["Pick the apple.", "pick: the apple, now!", "don't open top-drawer"])
    assert known.words == ("apple", "don't", "now", "open", "pick", "the", "top-drawer")
    same = ["pick the apple", "Pick the apple.", " PICK  the (apple)", "pick,the/apple…"]
    found = known.encode(same)
    assert (found == found[0]).all()


def test_letters_that_are_written_in_two_ways_are_one() -> None:
    known = Vocabulary.of(["pose la clé", "pose la cle\u0301"])
    assert len(known.words) == 3


def test_words_of_an_older_model_mean_what_they_meant() -> None:
    old = Vocabulary(("apple", "apple.", "pick"))
    assert old.encode(["pick apple.", "pick apple"])[:, :2].tolist() == [[3, 2], [3, 1]]
    with pytest.raises(ValueError, match='not trained on the word "pick,"'):
        old.encode(["pick, apple"])


def test_it_is_as_long_as_the_longest_instruction() -> None:
    sentence = " ".join(["put", "it", "there"] * 14)
    known = Vocabulary.of(["put it", sentence])
    assert known.length == 42
    assert (known.encode([sentence]) > 0).sum() == 42
    assert Vocabulary.of(["put it"]).length == MAX_WORDS


def test_texts_too_long_for_any_model_are_counted() -> None:
    with pytest.raises(ValueError, match="1 of 2 instructions have more than 256 words, the long"):
        Vocabulary.of(["put it", "so " * 300])


def test_symbols_alone_say_nothing() -> None:
    assert Vocabulary.of(["", "...", "pick"]).words == ("pick",)
