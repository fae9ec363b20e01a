"""The words of instructions as small integers."""

from __future__ import annotations

import difflib
import re
import string
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MAX_WORDS = 16  # of a vocabulary whose instructions are shorter
MOST_WORDS = 256  # of any instruction

_BETWEEN = re.compile(
    r"[\s,;:!?()\[\]{}\"\u201c\u201d\u00ab\u00bb\u3001\u3002\uff0c\uff01\uff1f/]+"
)
_EDGES = string.punctuation + "\u2018\u2019\u2026\u2013\u2014"


def words_of(text: str) -> list[str]:
    """The words of a text: in lower case, without the punctuation between and around them."""
    parts = _BETWEEN.split(unicodedata.normalize("NFC", text).lower())
    return [word for part in parts if (word := part.strip(_EDGES))]


@dataclass(frozen=True)
class Vocabulary:
    """Known words; index 0 is "no word", word i has index i + 1.

    `length` is the number of words that an instruction may have. A vocabulary that holds words with
    punctuation, as those of older models may, reads text as it was read then: split at blanks.

    Example:
        >>> Vocabulary.of(["pick can", "open drawer"]).encode(["open can"])[0, :2]
        array([3, 1])
    """

    words: tuple[str, ...]
    length: int = MAX_WORDS

    @classmethod
    def of(cls, instructions: Iterable[str]) -> Vocabulary:
        """The words of these instructions, in alphabetical order, as long as the longest.

        Raises:
            ValueError: instructions have more than MOST_WORDS words; it counts them.
        """
        texts = {text: words_of(text) for text in instructions}
        lengths = {text: len(words) for text, words in texts.items()}
        long = [text for text, length in lengths.items() if length > MOST_WORDS]
        if long:
            text = max(long, key=lengths.__getitem__)
            raise ValueError(
                f"{len(long)} of {len(texts)} instructions have more than {MOST_WORDS} words, the "
                f'longest {lengths[text]} ("{text[:60]}..."); shorten them'
            )
        return cls(
            tuple(sorted({word for words in texts.values() for word in words})),
            max([MAX_WORDS, *lengths.values()]),
        )

    @property
    def size(self) -> int:
        """Number of indices, "no word" included."""
        return len(self.words) + 1

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, start=1)}

    @cached_property
    def _plain(self) -> bool:
        return all(words_of(word) == [word] for word in self.words)

    def encode(self, instructions: Sequence[str]) -> NDArray[np.int64]:
        """Word indices (B, length); an empty instruction is all zeros.

        Raises:
            ValueError: an unknown word (the message suggests a known one) or too many words.
        """
        out = np.zeros((len(instructions), self.length), dtype=np.int64)
        for row, text in enumerate(instructions):
            words = words_of(text) if self._plain else text.lower().split()
            if len(words) > self.length:
                raise ValueError(
                    f'instruction "{text}" has more than {self.length} words; shorten it'
                )
            for column, word in enumerate(words):
                if word not in self._index:
                    raise ValueError(
                        f'the model was not trained on the word "{word}" of "{text}"; '
                        f"{self._instead_of(word)}"
                    )
                out[row, column] = self._index[word]
        return out

    def _instead_of(self, word: str) -> str:
        near = difflib.get_close_matches(word, self.words, n=1)
        if near:
            return f'did you mean "{near[0]}"?'
        more = f" and {len(self.words) - 40} more" if len(self.words) > 40 else ""
        return f"it knows {sorted(self.words)[:40]}{more}"
